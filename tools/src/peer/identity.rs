//! Who a peer is, and where it connects to.

use std::net::Ipv6Addr;

use anyhow::{Context, Result, anyhow, bail};
use tailnet_wire::fields::own_addresses;
use uuid::Uuid;

use super::{announcement, endpoint::Endpoint};
use crate::{
    message::{Message, Request},
    websocket::{Coordinator, Credentials, Protocol},
};

/// A peer that was created in the network, and a proxy of the network.
#[derive(Clone)]
pub struct Identity {
    /// The peer's id.
    pub id: Uuid,
    /// The peer's token.
    pub token: String,
    /// The proxy: `ws://host:port`.
    pub url: String,
    /// Sent as `traceparent`: the span that the connection belongs to.
    pub traceparent: Option<String>,
    /// What it speaks to the proxy.
    pub protocol: Protocol,
}

/// The address of a peer inside the tunnels: every peer can work it out from the id.
pub fn address(id: Uuid) -> Ipv6Addr {
    let [address, _] = own_addresses(id);
    address
}

impl Identity {
    /// Connects to the proxy.
    ///
    /// # Errors
    /// When the proxy does not let it in.
    pub async fn connect(&self) -> Result<Coordinator> {
        let credentials = Credentials::header(&self.token).traced(self.traceparent.clone()).speaking(self.protocol);
        Coordinator::connect(&self.url, &credentials).await.with_context(|| format!("cannot connect to {}", self.url))
    }

    /// A WireGuard endpoint, and the request that announces it.
    ///
    /// # Errors
    /// When no UDP socket can be bound.
    pub async fn endpoint(&self) -> Result<(Endpoint, Request)> {
        let address = address(self.id);
        let endpoint = Endpoint::bind(address).await?;
        let node = announcement::to_node(self.id, address, endpoint.public(), endpoint.local());
        Ok((endpoint, Request::node(&node)))
    }
}

/// Why there is no session any more.
pub(super) fn closed(code: Option<u16>, reason: &str) -> anyhow::Error {
    let code = code.map(|code| format!(" with {code}")).unwrap_or_default();
    anyhow!("the proxy closed the session{code} ({reason})")
}

/// Says goodbye, and waits for the proxy to agree.
///
/// # Errors
/// When the websocket ends otherwise.
pub async fn say_goodbye(coordinator: &mut Coordinator) -> Result<()> {
    coordinator.send(&Request::disconnect()).await.context("cannot say goodbye to the proxy")?;
    loop {
        match coordinator.next().await {
            Message::Closed { code: Some(1000), .. } => return Ok(()),
            Message::Closed { code, reason } => {
                return Err(closed(code, &reason)).context("the proxy did not return the goodbye");
            }
            Message::Error(error) => bail!("the proxy refused the goodbye: {error}"),
            Message::Updates(_) | Message::Acknowledged(_) | Message::Resume { .. } => {}
        }
    }
}
