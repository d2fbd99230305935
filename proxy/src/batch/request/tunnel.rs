//! Requests about tunnels. The tunneler opens and closes them; the handshaker carries ready-for-handshake over them.

use crate::{
    batch::{batcher::Request, request::permit::Permit, restoring::Restoring},
    message::Wish,
};

/// A request of the tunneler. Its key is the session and the other end of the tunnel.
#[derive(Debug, Default)]
pub struct TunnelerRequest {
    /// None: no wish. The entry only carries a handshake that must wait for the request that is in flight.
    pub wish: Option<Wish>,
    /// A handshake that the peer asked for after it asked for the tunnel.
    pub ready: Option<Permit>,
    /// Held while the request waits.
    pub permit: Option<Permit>,
    /// Held while a restore of this registration waits.
    pub restoring: Option<Restoring>,
}

/// A request of the handshaker. Its key is the session and the other peer.
#[derive(Debug)]
pub struct HandshakerRequest {
    /// Held while the request waits.
    pub permit: Permit,
}

impl Request for TunnelerRequest {
    const WORKER: &'static str = "tunneler";

    fn merge(self, newer: Self) -> Self {
        // A handshake that was asked for before the tunnel was closed has no meaning after it.
        let older_ready = self.ready.filter(|_| newer.wish != Some(Wish::Close));
        Self {
            wish: newer.wish.or(self.wish),
            ready: newer.ready.or(older_ready),
            permit: newer.permit.or(self.permit),
            restoring: newer.restoring.or(self.restoring),
        }
    }
}

impl Request for HandshakerRequest {
    const WORKER: &'static str = "handshaker";

    fn merge(self, newer: Self) -> Self {
        newer
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;

    fn permit() -> Permit {
        let permits = Arc::new(Semaphore::new(1));
        Arc::new(permits.try_acquire_owned().expect("one permit is free"))
    }

    #[test]
    fn b13_a_handshake_waits_for_its_tunnel_and_ends_with_it() {
        let wish = |wish| TunnelerRequest { wish: Some(wish), ..TunnelerRequest::default() };
        let ready = || TunnelerRequest { ready: Some(permit()), ..TunnelerRequest::default() };
        let open = wish(Wish::Open).merge(ready());
        assert!(open.wish == Some(Wish::Open) && open.ready.is_some());
        let reopened = open.merge(wish(Wish::Open));
        assert!(reopened.ready.is_some());
        let closed = reopened.merge(wish(Wish::Close));
        assert!(closed.wish == Some(Wish::Close) && closed.ready.is_none());
    }
}
