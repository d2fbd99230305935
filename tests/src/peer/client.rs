//! A peer that reaches an agent, moves bytes, and leaves.

use std::{fmt, time::Duration};

use anyhow::{Context, Result, bail};
use uuid::Uuid;

use super::{
    announcement::Announcement,
    echo_client::EchoClient,
    endpoint::Endpoint,
    identity::{self, Identity},
};
use crate::{
    coordinator::Coordinator,
    message::{Kind, Message, Update},
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
    Echo(EchoClient),
    Done,
}

struct Client {
    coordinator: Coordinator,
    endpoint: Endpoint,
    errand: Errand,
    step: Step,
    /// May come before the node that it is about.
    agent_is_ready: bool,
    moved: (u64, u64),
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
    if errand.bytes == 0 {
        bail!("an echo of zero bytes proves nothing: ask for at least one");
    }
    let timeout = errand.timeout;
    let deadline = tokio::time::Instant::now() + timeout;
    let late = || humantime::format_duration(timeout);
    let mut client = tokio::time::timeout_at(deadline, Client::start(identity, errand))
        .await
        .with_context(|| format!("not connected to the proxy after {}", late()))??;
    let echoed = match tokio::time::timeout_at(deadline, client.run(&progress)).await {
        Ok(echoed) => echoed.with_context(|| format!("failed at: {client}"))?,
        Err(_) => bail!("not done after {}: {client}", late()),
    };
    done(&echoed);
    tokio::select! {
        () = stay => {}
        turned = client.attend() => return turned.context("failed after the echo"),
    }
    tokio::time::timeout(timeout, identity::say_goodbye(&mut client.coordinator))
        .await
        .with_context(|| format!("the proxy did not return the goodbye in {}", late()))?
}

impl Client {
    async fn start(identity: &Identity, errand: Errand) -> Result<Self> {
        let mut coordinator = identity.connect().await?;
        let (endpoint, announcement) = identity.endpoint().await?;
        let request = announcement.and_add_tunnel(errand.to);
        coordinator.send(&request).await.context("cannot open the tunnel")?;
        Ok(Self { coordinator, endpoint, errand, step: Step::Node, agent_is_ready: false, moved: (0, 0) })
    }

    async fn run(&mut self, progress: &impl Fn(u64)) -> Result<Echoed> {
        loop {
            self.advance(progress)?;
            if matches!(self.step, Step::Done) {
                break;
            }
            self.turn().await?;
        }
        let handshake = self.endpoint.tunnels.handshake(self.errand.to).context("there was no handshake")?;
        let (sent, received) = self.moved;
        Ok(Echoed { sent, received, handshake })
    }

    /// Keeps the session and the tunnel alive; returns when one of them fails.
    async fn attend(&mut self) -> Result<()> {
        loop {
            self.turn().await?;
        }
    }

    /// Handles the next thing that happens.
    async fn turn(&mut self) -> Result<()> {
        tokio::select! {
            turned = self.endpoint.turn() => turned,
            message = self.coordinator.next() => match message {
                Message::Updates(updates) => updates.into_iter().try_for_each(|update| self.learn(update)),
                Message::Acknowledged(_) => Ok(()),
                Message::Error(error) => bail!("the proxy refused a request: {error}"),
                Message::Closed { code, reason } => bail!("the proxy closed the session: {code:?} {reason}"),
            },
        }
    }

    fn learn(&mut self, Update { id, kind, node, reason }: Update) -> Result<()> {
        if id != self.errand.to {
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

    fn advance(&mut self, progress: &impl Fn(u64)) -> Result<()> {
        let Self { endpoint, errand, .. } = self;
        match &mut self.step {
            Step::Ready if self.agent_is_ready => {
                endpoint.tunnels.initiate(errand.to)?;
                self.step = Step::Handshake;
            }
            Step::Handshake if endpoint.tunnels.handshake(errand.to).is_some() => {
                let to = identity::address(errand.to);
                self.step = Step::Echo(EchoClient::connect(&mut endpoint.tcp, to, errand.seed, errand.bytes)?);
            }
            Step::Echo(echo) => {
                let done = echo.advance(&mut endpoint.tcp)?;
                self.moved = (echo.sent(), echo.received());
                progress(echo.received());
                if done {
                    self.step = Step::Done;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sent, received) = self.moved;
        let (to, total) = (self.errand.to, self.errand.bytes);
        match self.step {
            Step::Node => write!(f, "waiting for the node of agent {to}"),
            Step::Ready => write!(f, "waiting for agent {to} to be ready for a handshake"),
            Step::Handshake => write!(f, "waiting for the WireGuard handshake with agent {to}"),
            Step::Echo(_) => write!(f, "sent {sent} and received {received} of {total} bytes"),
            Step::Done => write!(f, "all {total} bytes echoed"),
        }
    }
}
