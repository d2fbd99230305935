//! What a worker reads and tells when it restores sessions.

use tailnet_wire::{Node, SessionId};
use uuid::Uuid;

use super::Switchboard;
use crate::{
    batch::{
        request::{Proof, TunnelerRequest},
        restoring::Restoring,
    },
    message::Wish,
    state::local::RestoreState,
};

impl Switchboard {
    /// What it takes to restore a session; None: the session ended.
    pub fn restore_state(&self, id: SessionId) -> Option<RestoreState> {
        self.lock().restore_state(id)
    }

    /// What a session was admitted with: the proof of its number, and the only peer that it may have a tunnel to. None: the
    /// session ended.
    pub fn admission(&self, id: SessionId) -> Option<(Proof, Option<Uuid>)> {
        self.lock().admission(id)
    }

    /// The last node of a session; None: the session ended.
    pub fn node(&self, id: SessionId) -> Option<Node> {
        self.lock().node(id)
    }

    /// A session was restored with these tunnels.
    pub fn restored(&self, id: SessionId, tunnels: &[Uuid]) {
        let mut fold = self.lock();
        for (dst, wish) in fold.restored(id, tunnels) {
            self.tunneler.push((id, dst), TunnelerRequest { wish: Some(wish), ..TunnelerRequest::default() });
        }
    }

    /// Opens tunnels for which a restore had no room, unless the peer has asked to close them since.
    pub fn reopen(&self, id: SessionId, dsts: Vec<Uuid>, restoring: Option<&Restoring>) {
        let fold = self.lock();
        if !fold.holds(id) {
            return;
        }
        for dst in dsts.into_iter().filter(|dst| fold.wish_for(id, *dst) != Some(Wish::Close)) {
            let restoring = restoring.cloned();
            let open = TunnelerRequest { wish: Some(Wish::Open), restoring, ..TunnelerRequest::default() };
            self.tunneler.push((id, dst), open);
        }
    }
}
