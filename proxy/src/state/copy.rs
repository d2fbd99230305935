//! Copies of a fold. A model checker goes on from each of them in another way, and needs to know which are the same.

use std::{
    hash::{Hash, Hasher},
    sync::{Arc, Mutex},
};

use tailnet_wire::Node;
use tokio::sync::Notify;

use crate::state::{fold::Fold, local::Local, outbox::Outbox};

impl Fold {
    /// A new log begins as if it went on with the old one: a checker shows that this is wrong. [`Fold::begin`] also
    /// leaves the state of each partner to its page.
    pub fn begin_covered(&mut self) {
        self.settled = false;
    }
}

impl Hash for Fold {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { locals, interest, marks, awaiting_marks, settled, withholding } = self;
        let mut peers: Vec<_> = locals.keys().collect();
        peers.sort_unstable();
        for peer in peers {
            (peer, &locals[peer], awaiting_marks.contains(peer), withholding.contains(peer)).hash(state);
        }
        (interest, marks, settled).hash(state);
    }
}

impl Clone for Local {
    /// With an outbox of its own.
    fn clone(&self) -> Self {
        Self {
            session: self.session,
            proof: self.proof.clone(),
            only: self.only,
            outbox: Arc::new(Outbox::clone(&self.outbox)),
            node: self.node.clone(),
            wishes: self.wishes.clone(),
            restoring: self.restoring,
            partners: self.partners.clone(),
            covered: self.covered,
            withheld: self.withheld.clone(),
        }
    }
}

impl Hash for Local {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // A session has one proof, and one path on which it came.
        let Self { session, proof: _, only: _, outbox, node, wishes, restoring, partners, covered, withheld } = self;
        (session, outbox, node.as_ref().map(Node::as_str), wishes, restoring, partners, covered, withheld).hash(state);
    }
}

impl Clone for Outbox {
    /// Nobody waits for the copy yet.
    fn clone(&self) -> Self {
        Self { waiting: Mutex::new(self.lock().clone()), wake: Notify::new() }
    }
}

impl PartialEq for Outbox {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || *self.lock() == *other.lock()
    }
}

impl Eq for Outbox {}

impl Hash for Outbox {
    /// Coarse, because a checker empties an outbox in the step that fills it.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.lock().order.hash(state);
    }
}
