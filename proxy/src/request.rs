//! What the roles ask of Postgres, and how two requests of one key become one.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use uuid::Uuid;

use crate::{
    batcher::Request,
    id::{Identity, SessionId},
    restoring::Restoring,
    store::TokenHash,
    wishes::Wish,
};

/// Held by a request for as long as it waits: a session that asks faster than Postgres answers runs out of them, and
/// is not read meanwhile.
pub type Permit = Arc<OwnedSemaphorePermit>;

/// What is to become of a session's row. What is written is read when the request is taken, so it is the latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Open it.
    Attach,
    /// Announce its node.
    Bind,
    /// Open it again, with its node and its tunnels.
    Restore,
    /// End it without a goodbye.
    Lose,
    /// End it with one.
    Disconnect,
}

/// A request of the binder, by session.
#[derive(Debug, Default)]
pub struct BinderRequest {
    /// None: there is only something that has to wait for what is in flight.
    pub step: Option<Step>,
    /// Handshakes that the peer asked for after it announced its node.
    pub ready: BTreeMap<Uuid, Permit>,
    /// Told when it is committed.
    pub done: Vec<oneshot::Sender<()>>,
    /// See [`Permit`].
    pub permit: Option<Permit>,
    /// It restores what stood when the registration began.
    pub restoring: Option<Restoring>,
}

/// A request of the tunneler, by session and other end.
#[derive(Debug, Default)]
pub struct TunnelerRequest {
    /// None: there is only something that has to wait for what is in flight.
    pub wish: Option<Wish>,
    /// A handshake that the peer asked for after it asked for the tunnel.
    pub ready: Option<Permit>,
    /// See [`Permit`].
    pub permit: Option<Permit>,
    /// It restores what stood when the registration began.
    pub restoring: Option<Restoring>,
}

/// A request of the handshaker, by session and other end.
#[derive(Debug)]
pub struct HandshakerRequest {
    /// See [`Permit`].
    pub permit: Permit,
}

/// The keys of the querier's requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Question {
    /// A token, by the number of the request: two upgrades with one token are two sessions.
    Token(u64),
    /// A page of the view of a session.
    Page(SessionId),
}

/// A request of the querier.
#[derive(Debug)]
pub enum QuerierRequest {
    /// Whose token is it?
    Token {
        /// All that is known of the token.
        hash: TokenHash,
        /// The session that it may open; None: the token is no good. Dropped: Postgres did not answer.
        reply: oneshot::Sender<Option<Identity>>,
    },
    /// The page behind this key.
    Page {
        /// The key.
        after: Uuid,
    },
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
    fn merge(mut self, newer: Self) -> Self {
        if newer.step.is_some_and(Step::is_end) && !self.step.is_some_and(Step::is_end) {
            // Who waits for the attach or for a handshake of a session that ends learns that it will not come.
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
            permit: newer.permit.or(self.permit),
            restoring: newer.restoring.or(self.restoring),
        }
    }
}

impl Request for TunnelerRequest {
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
    fn merge(self, newer: Self) -> Self {
        newer
    }
}

impl Request for QuerierRequest {
    fn merge(self, newer: Self) -> Self {
        newer
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    fn permit() -> Permit {
        let permits = Arc::new(Semaphore::new(1));
        Arc::new(permits.try_acquire_owned().expect("one permit is free"))
    }

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
    fn who_waits_for_an_attach_learns_that_it_will_not_come() {
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
