//! A peer that reaches an agent, moves bytes, and leaves.

use std::{convert::Infallible, fmt, time::Duration};

use anyhow::{Context, Result, bail};
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::{
    announcement::Announcement,
    echo_client::EchoClient,
    endpoint::Endpoint,
    identity::{self, Identity},
    pace::Pace,
};
use crate::{
    message::{Kind, Message, Update},
    websocket::Coordinator,
};

/// What to move, and how far to go for it.
#[derive(Debug, Clone)]
pub struct Errand {
    /// The agent.
    pub to: Uuid,
    /// How many bytes; not zero, which would prove nothing.
    pub bytes: u64,
    /// Decides which bytes.
    pub seed: u64,
    /// For everything together.
    pub timeout: Duration,
}

/// What was done.
#[derive(Debug, Clone)]
pub struct Echoed {
    /// Bytes sent through the tunnel.
    pub sent: u64,
    /// Bytes that came back, each as it was sent.
    pub received: u64,
    /// From the first WireGuard message to a session.
    pub handshake: Duration,
}

/// How far the client got: each step needs all those before it.
#[derive(Debug)]
enum Step {
    Node,
    Ready,
    Handshake,
    Session,
    Echo(EchoClient),
    Done(EchoClient),
}

/// A client that is connected, and has asked for a tunnel to an agent.
pub struct Client {
    coordinator: Coordinator,
    endpoint: Endpoint,
    /// The agent.
    to: Uuid,
    step: Step,
    /// May come before the node that it is about.
    agent_is_ready: bool,
}

/// Connects, opens the tunnel, moves the bytes, tells `done`, and says goodbye when `stay` is over. `progress` is told the
/// bytes that came back so far.
///
/// # Errors
/// When anything on the way fails, or is not done in time; says how far it got.
pub async fn echo(
    identity: &Identity,
    errand: Errand,
    progress: impl Fn(u64),
    done: impl FnOnce(&Echoed),
    stay: impl Future<Output = ()>,
) -> Result<()> {
    let Errand { to, bytes, seed, timeout } = errand;
    if bytes == 0 {
        bail!("an echo of zero bytes proves nothing: ask for at least one");
    }
    let deadline = tokio::time::Instant::now() + timeout;
    let late = || humantime::format_duration(timeout);
    let mut client = tokio::time::timeout_at(deadline, Client::start(identity, to))
        .await
        .with_context(|| format!("not connected to the proxy after {}", late()))??;
    let echoing = async {
        let handshake = client.shake_hands().await?;
        client.echo(seed, bytes, |_, received| progress(received)).await?;
        anyhow::Ok(handshake)
    };
    let handshake = match tokio::time::timeout_at(deadline, echoing).await {
        Ok(handshake) => handshake.with_context(|| format!("failed at: {client}"))?,
        Err(_) => bail!("not done after {}: {client}", late()),
    };
    let (sent, received) = client.moved();
    done(&Echoed { sent, received, handshake });
    tokio::select! {
        () = stay => {}
        failed = client.attend() => match failed.context("failed after the echo")? {},
    }
    tokio::time::timeout(timeout, client.leave())
        .await
        .with_context(|| format!("the proxy did not return the goodbye in {}", late()))?
}

impl Client {
    /// Connects, announces itself, and asks for a tunnel to the agent `to`.
    ///
    /// # Errors
    /// When the proxy does not let it in, or the network fails.
    pub async fn start(identity: &Identity, to: Uuid) -> Result<Self> {
        let mut coordinator = identity.connect().await?;
        let (endpoint, announcement) = identity.endpoint().await?;
        coordinator.send(&announcement.and_add_tunnel(to)).await.context("cannot open the tunnel")?;
        Ok(Self { coordinator, endpoint, to, step: Step::Node, agent_is_ready: false })
    }

    /// Returns when there is a WireGuard session: how long it took from its first message.
    ///
    /// # Errors
    /// When the proxy refuses a request or ends the session, or the network fails.
    pub async fn shake_hands(&mut self) -> Result<Duration> {
        loop {
            match self.step {
                Step::Ready if self.agent_is_ready => {
                    self.endpoint.tunnels.initiate(self.to)?;
                    self.step = Step::Handshake;
                }
                Step::Handshake => {
                    if let Some(took) = self.endpoint.tunnels.handshake(self.to) {
                        self.step = Step::Session;
                        return Ok(took);
                    }
                }
                _ => {}
            }
            self.turn().await?;
        }
    }

    /// Sends so many bytes, which follow from `seed`, and returns when all came back. `moved` is told those that were
    /// sent and those that were received so far.
    ///
    /// # Errors
    /// When the echo is wrong or ends early, or for what [`Self::shake_hands`] fails.
    pub async fn echo(&mut self, seed: u64, bytes: u64, moved: impl Fn(u64, u64)) -> Result<()> {
        let to = identity::address(self.to);
        self.step = Step::Echo(EchoClient::connect(&mut self.endpoint.tcp, to, seed, bytes)?);
        while !self.advance(&moved)? {
            self.turn().await?;
        }
        Ok(())
    }

    /// The same at a pace. What was due and could not leave before the end is not sent any more.
    ///
    /// # Errors
    /// As [`Self::echo`].
    pub async fn echo_at(&mut self, seed: u64, pace: &Pace, moved: impl Fn(u64, u64)) -> Result<()> {
        let to = identity::address(self.to);
        self.step = Step::Echo(EchoClient::open(&mut self.endpoint.tcp, to, seed)?);
        loop {
            let now = Instant::now();
            let is_over = pace.is_over(now);
            if let Step::Echo(echo) = &mut self.step {
                echo.supply(pace.due(now));
                if is_over {
                    echo.end();
                }
            }
            if self.advance(&moved)? {
                return Ok(());
            }
            tokio::select! {
                turned = self.turn() => turned?,
                () = sleep_until(pace.next(now)), if !is_over => {}
            }
        }
    }

    /// Keeps the session and the tunnel alive, until one of them fails.
    ///
    /// # Errors
    /// Then.
    pub async fn attend(&mut self) -> Result<Infallible> {
        loop {
            self.turn().await?;
        }
    }

    /// Says goodbye, and waits for the proxy to agree.
    ///
    /// # Errors
    /// When the websocket ends otherwise.
    pub async fn leave(&mut self) -> Result<()> {
        identity::say_goodbye(&mut self.coordinator).await
    }

    /// Bytes that were sent, and those that came back.
    fn moved(&self) -> (u64, u64) {
        match &self.step {
            Step::Echo(echo) | Step::Done(echo) => (echo.sent(), echo.received()),
            _ => (0, 0),
        }
    }

    /// Whether all bytes are back.
    fn advance(&mut self, moved: &impl Fn(u64, u64)) -> Result<bool> {
        let Step::Echo(echo) = &mut self.step else { return Ok(true) };
        let done = echo.advance(&mut self.endpoint.tcp);
        moved(echo.sent(), echo.received());
        if !done? {
            return Ok(false);
        }
        if let Step::Echo(echo) = std::mem::replace(&mut self.step, Step::Session) {
            self.step = Step::Done(echo);
        }
        Ok(true)
    }

    /// Handles the next thing that happens.
    async fn turn(&mut self) -> Result<()> {
        tokio::select! {
            turned = self.endpoint.turn() => turned,
            message = self.coordinator.next() => match message {
                Message::Updates(updates) => updates.into_iter().try_for_each(|update| self.learn(update)),
                Message::Acknowledged(_) | Message::Resume { .. } => Ok(()),
                Message::Error(error) => bail!("the proxy refused a request: {error}"),
                Message::Closed { code, reason } => Err(identity::closed(code, &reason)),
            },
        }
    }

    fn learn(&mut self, Update { id, kind, node, reason }: Update) -> Result<()> {
        if id != self.to {
            return Ok(());
        }
        match kind {
            Kind::Node => {
                let announcement = Announcement::from_node(&node.unwrap_or_default())
                    .with_context(|| format!("cannot reach agent {id}"))?;
                self.endpoint.tunnels.set(id, announcement);
                if matches!(self.step, Step::Node) {
                    self.step = Step::Ready;
                }
            }
            Kind::ReadyForHandshake => self.agent_is_ready = true,
            Kind::Disconnected => bail!("agent {id} left: {}", reason.unwrap_or_default()),
            // It may come back, and the tunnel may work all the while.
            Kind::Lost => {}
        }
        Ok(())
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let to = self.to;
        match &self.step {
            Step::Node => write!(f, "waiting for the node of agent {to}"),
            Step::Ready => write!(f, "waiting for agent {to} to be ready for a handshake"),
            Step::Handshake => write!(f, "waiting for the WireGuard handshake with agent {to}"),
            Step::Session => write!(f, "with a WireGuard session to agent {to}"),
            Step::Echo(echo) => {
                write!(f, "sent {} and received {} of {} bytes", echo.sent(), echo.received(), echo.total())
            }
            Step::Done(echo) => write!(f, "all {} bytes echoed", echo.total()),
        }
    }
}
