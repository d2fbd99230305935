//! Proof that nothing was sent.
//!
//! The log of each coordinator is totally ordered, the proxy applies it in that order, and a peer's websocket keeps the
//! order of what is due. So when a peer hears something that was *committed* after an event, it has heard of the event
//! before, or never will. A [`Marker`] makes such a later something: a hub, with a tunnel to each watched peer, that
//! announces a fresh node. Once that node has arrived, everything committed before the call has been delivered.
//!
//! What a peer asks for is not committed when it is sent: await the effect with the [`Operator`] or the count of
//! statements first, then let the marker pass.

use std::panic::Location;

use anyhow::Result;
use serde_json::Value;
use tailnet_wire::Role;
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::{operator::Operator, proxy::Proxy, test_peer::TestPeer};

/// A hub that marks a place in the logs.
#[derive(Debug)]
pub struct Marker {
    id: Uuid,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    hub: TestPeer,
    version: u64,
    watched: Vec<Uuid>,
}

impl Marker {
    /// A marker for the peers of one network, connected to `proxy`.
    pub async fn new(operator: &Operator, network: &str, proxy: &Proxy) -> Result<Self> {
        let hub = proxy.connect(&operator.create_peer(network, Role::Hub).await?).await?;
        Ok(Self { id: hub.id(), state: Mutex::new(State { hub, version: 0, watched: Vec::new() }) })
    }

    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Returns when everything that was committed before the call has been delivered to these peers.
    #[track_caller]
    pub fn pass<'a>(&'a self, peers: &'a [&'a TestPeer]) -> impl Future<Output = Result<()>> + 'a {
        let at = Location::caller();
        async move {
            let node = self.mark(peers).await?;
            for peer in peers {
                peer.expect_node_at(at, self.id, &node).await;
                // A node that arrived with the tunnel, before the fresh one.
                peer.forgive(self.id);
            }
            Ok(())
        }
    }

    async fn mark(&self, peers: &[&TestPeer]) -> Result<Value> {
        let mut state = self.state.lock().await;
        for peer in peers {
            if !state.watched.contains(&peer.id()) {
                state.hub.open_tunnel(peer.id()).await?;
                state.watched.push(peer.id());
            }
        }
        state.version += 1;
        let version = state.version;
        state.hub.announce(version).await
    }
}
