//! A peer that waits for others and serves them.

use std::{convert::Infallible, net::Ipv6Addr, time::Duration};

use anyhow::{Context, Result, bail};

use super::{
    announcement::Announcement,
    echo_server::EchoServer,
    endpoint::Endpoint,
    identity::{self, Identity},
};
use crate::{
    message::{Kind, Message, Request, Update},
    websocket::Coordinator,
};

/// The proxy answers a goodbye within a round trip to Postgres.
const GOODBYE: Duration = Duration::from_secs(10);

/// What an agent did in its life.
#[derive(Debug)]
pub struct Served {
    /// Bytes that came through the tunnels.
    pub received: u64,
    /// Bytes that were sent back.
    pub sent: u64,
}

/// An agent that is connected.
pub struct Agent {
    coordinator: Coordinator,
    endpoint: Endpoint,
    echo: EchoServer,
}

impl Agent {
    /// Connects, and announces itself.
    ///
    /// # Errors
    /// When the proxy does not let it in, or the network fails.
    pub async fn start(identity: &Identity) -> Result<Self> {
        let mut coordinator = identity.connect().await?;
        let (mut endpoint, announcement) = identity.endpoint().await?;
        let echo = EchoServer::new(&mut endpoint.tcp)?;
        coordinator.send(&announcement).await.context("cannot announce the node")?;
        Ok(Self { coordinator, endpoint, echo })
    }

    /// Echoes what others send, until something fails. `moved` is told what it did so far. May be cancelled.
    ///
    /// # Errors
    /// When the proxy refuses a request or ends the session, or the network fails.
    pub async fn attend(&mut self, moved: impl Fn(&Served)) -> Result<Infallible> {
        loop {
            self.echo.advance(&mut self.endpoint.tcp)?;
            moved(&self.served());
            tokio::select! {
                turned = self.endpoint.turn() => turned?,
                message = self.coordinator.next() => match message {
                    Message::Updates(updates) => learn(updates, &mut self.endpoint, &mut self.coordinator).await?,
                    Message::Acknowledged(_) | Message::Resume { .. } => {}
                    Message::Error(error) => bail!("the proxy refused a request: {error}"),
                    Message::Closed { code, reason } => return Err(identity::closed(code, &reason)),
                },
            }
        }
    }

    /// What it did so far.
    pub fn served(&self) -> Served {
        Served { received: self.echo.received(), sent: self.echo.sent() }
    }

    /// Says goodbye.
    ///
    /// # Errors
    /// When the proxy does not agree in time.
    pub async fn leave(&mut self) -> Result<()> {
        tokio::time::timeout(GOODBYE, identity::say_goodbye(&mut self.coordinator))
            .await
            .context("the proxy did not answer the goodbye in time")?
    }
}

/// Announces itself and echoes until `stop` is ready. `announced` is called once others can find it.
///
/// # Errors
/// When the proxy refuses a request or ends the session, or the network fails.
pub async fn serve(
    identity: &Identity,
    announced: impl FnOnce(Ipv6Addr),
    stop: impl Future<Output = ()>,
) -> Result<Served> {
    let mut agent = Agent::start(identity).await?;
    announced(identity::address(identity.id));
    tokio::select! {
        failed = agent.attend(|_| {}) => match failed? {},
        () = stop => {}
    }
    agent.leave().await?;
    Ok(agent.served())
}

async fn learn(updates: Vec<Update>, endpoint: &mut Endpoint, coordinator: &mut Coordinator) -> Result<()> {
    let mut learnt = Vec::new();
    for Update { id, kind, node, .. } in updates {
        match kind {
            Kind::Node => match Announcement::from_node(&node.unwrap_or_default()) {
                Ok(announcement) => {
                    endpoint.tunnels.set(id, announcement);
                    learnt.push(id);
                }
                // One peer that cannot be reached is no reason to leave the others alone.
                Err(error) => tracing::warn!("no tunnel to peer {id}: {error:#}"),
            },
            Kind::Disconnected => endpoint.tunnels.remove(id),
            // WireGuard goes on without the coordinator.
            Kind::Lost | Kind::ReadyForHandshake => {}
        }
    }
    if learnt.is_empty() {
        return Ok(());
    }
    let ready = Request::ready_for_handshake(&learnt);
    coordinator.send(&ready).await.context("cannot tell that the tunnels are ready for a handshake")
}
