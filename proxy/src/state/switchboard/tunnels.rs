//! Tunnels are opened and closed, and handshakes go out after them.
//!
//! A handshake must not overtake the node and the tunnel that its peer asked for before. So it waits behind the request of
//! the binder, then behind that of the tunneler, and only then goes to the handshaker.

use std::collections::BTreeMap;

use tailnet_wire::SessionId;
use uuid::Uuid;

use super::Switchboard;
use crate::{
    batch::request::{BinderRequest, HandshakerRequest, Permit, TunnelerRequest},
    message::Wish,
};

impl Switchboard {
    /// A session asked to open or close a tunnel.
    pub fn tunnel(&self, id: SessionId, dst: Uuid, wish: Wish, permit: Permit) {
        let mut fold = self.lock();
        if fold.wish(id, dst, wish) {
            self.tunneler.push(
                (id, dst),
                TunnelerRequest { wish: Some(wish), permit: Some(permit), ..TunnelerRequest::default() },
            );
        }
    }

    /// These wishes were committed.
    pub fn commit(&self, ends: &[(SessionId, Uuid)], wish: Wish) {
        let mut fold = self.lock();
        for (id, dst) in ends {
            fold.commit(*id, *dst, wish);
        }
    }

    /// A session is ready for a handshake. It goes out after the node and the tunnel that the session asked for before.
    pub fn handshake(&self, id: SessionId, dst: Uuid, permit: Permit) {
        // The lock keeps out what this handshake would have to wait for.
        let _fold = self.lock();
        if self.binder.is_busy(&id) {
            self.binder.push(id, BinderRequest { ready: BTreeMap::from([(dst, permit)]), ..BinderRequest::default() });
        } else {
            self.handshake_after_node(id, dst, permit);
        }
    }

    /// The node was announced: the handshake only waits for the tunnel.
    pub fn handshake_after_node(&self, id: SessionId, dst: Uuid, permit: Permit) {
        if self.tunneler.is_busy(&(id, dst)) {
            self.tunneler.push((id, dst), TunnelerRequest { ready: Some(permit), ..TunnelerRequest::default() });
        } else {
            self.handshake_after_tunnel(id, dst, permit);
        }
    }

    /// The node was announced and the tunnel was opened: the handshake waits for nothing more.
    pub fn handshake_after_tunnel(&self, id: SessionId, dst: Uuid, permit: Permit) {
        self.handshaker.push((id, dst), HandshakerRequest { permit });
    }
}
