//! Requests of the binder: it opens, announces, restores and ends sessions.

use std::collections::BTreeMap;

use tokio::sync::oneshot;
use uuid::Uuid;

use crate::batch::{
    batcher::Request,
    request::{permit::Permit, proof::Proof},
    restoring::Restoring,
};

/// What is to become of a session. The worker reads what it writes when it takes the request, so it writes the latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Open the session.
    Attach,
    /// Announce its node.
    Bind,
    /// Open it again, with its node and its tunnels.
    Restore,
    /// End it without a goodbye.
    Lose,
    /// End it with a goodbye.
    Disconnect,
}

/// A request about one session, which is its key.
#[derive(Debug, Default)]
pub struct BinderRequest {
    /// None: no step. The entry only carries handshakes that must wait for the request that is in flight.
    pub step: Option<Step>,
    /// Proves the number of the session. A goodbye brings it, because the session is gone by then; for an attach or a restore
    /// the worker reads it.
    pub proof: Option<Proof>,
    /// Handshakes that the peer asked for after it announced its node, by the other peer.
    pub ready: BTreeMap<Uuid, Permit>,
    /// Each is told when the step is committed.
    pub done: Vec<oneshot::Sender<()>>,
    /// Held while the request waits.
    pub permit: Option<Permit>,
    /// Held while a restore of this registration waits.
    pub restoring: Option<Restoring>,
}

impl Step {
    /// Its name in traces.
    pub fn name(self) -> &'static str {
        match self {
            Self::Attach => "attach",
            Self::Bind => "bind",
            Self::Restore => "restore",
            Self::Lose => "lose",
            Self::Disconnect => "disconnect",
        }
    }

    fn merge(self, newer: Self) -> Self {
        match (self, newer) {
            (Self::Disconnect, _) | (_, Self::Disconnect) => Self::Disconnect,
            (Self::Lose, _) | (_, Self::Lose) => Self::Lose,
            (Self::Attach, Self::Attach) => Self::Attach,
            (Self::Bind, Self::Bind) => Self::Bind,
            // To restore is to attach and to announce.
            _ => Self::Restore,
        }
    }

    fn is_end(self) -> bool {
        matches!(self, Self::Lose | Self::Disconnect)
    }
}

impl BinderRequest {
    /// A request for this step.
    pub fn new(step: Step) -> Self {
        Self { step: Some(step), ..Self::default() }
    }
}

impl Request for BinderRequest {
    const WORKER: &'static str = "binder";

    fn merge(mut self, newer: Self) -> Self {
        if newer.step.is_some_and(Step::is_end) && !self.step.is_some_and(Step::is_end) {
            // The session ends: its attach and its handshakes will not come. Those that wait for them learn it.
            (self.done, self.ready) = (Vec::new(), BTreeMap::new());
        }
        let step = match (self.step, newer.step) {
            (Some(older), Some(newer)) => Some(older.merge(newer)),
            (older, newer) => older.or(newer),
        };
        self.done.extend(newer.done);
        self.ready.extend(newer.ready);
        Self {
            step,
            ready: self.ready,
            done: self.done,
            proof: newer.proof.or(self.proof),
            permit: newer.permit.or(self.permit),
            restoring: newer.restoring.or(self.restoring),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;

    fn step(older: Step, newer: Step) -> Option<Step> {
        BinderRequest::new(older).merge(BinderRequest::new(newer)).step
    }

    #[test]
    fn an_end_replaces_what_waits_and_nothing_replaces_an_end() {
        for other in [Step::Attach, Step::Bind, Step::Restore] {
            for end in [Step::Lose, Step::Disconnect] {
                assert_eq!(step(other, end), Some(end));
                assert_eq!(step(end, other), Some(end));
            }
        }
        assert_eq!(step(Step::Lose, Step::Disconnect), Some(Step::Disconnect));
        assert_eq!(step(Step::Disconnect, Step::Lose), Some(Step::Disconnect));
    }

    #[test]
    fn an_attach_with_a_node_is_a_restore() {
        assert_eq!(step(Step::Attach, Step::Bind), Some(Step::Restore));
        assert_eq!(step(Step::Bind, Step::Restore), Some(Step::Restore));
        assert_eq!(step(Step::Attach, Step::Attach), Some(Step::Attach));
    }

    #[test]
    fn an_end_drops_the_reply_to_an_attach() {
        let (done, mut attached) = oneshot::channel();
        let attach = BinderRequest { done: vec![done], ..BinderRequest::new(Step::Attach) };
        let (done, mut lost) = oneshot::channel();
        let lose = BinderRequest { done: vec![done], ..BinderRequest::new(Step::Lose) };
        let merged = attach.merge(lose);
        assert_eq!(attached.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        assert_eq!(lost.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        drop(merged);
    }

    #[test]
    fn a_merged_request_holds_one_permit() {
        let permits = Arc::new(Semaphore::new(2));
        let take = || Some(Arc::new(Arc::clone(&permits).try_acquire_owned().expect("a permit is free")));
        let bind = || BinderRequest { permit: take(), ..BinderRequest::new(Step::Bind) };
        let merged = bind().merge(bind()).merge(bind());
        assert_eq!(permits.available_permits(), 1);
        drop(merged);
        assert_eq!(permits.available_permits(), 2);
    }
}
