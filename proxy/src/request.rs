//! What the roles ask of Postgres, and how two requests of one key become one.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use uuid::Uuid;

use crate::{batcher::Request, store::Identity, store::TokenHash, wishes::Wish};

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
    Page(crate::id::SessionId),
}

/// A request of the querier.
#[derive(Debug)]
pub enum QuerierRequest {
    /// Whose token is it?
    Token {
        /// What is known of the token.
        hash: TokenHash,
        /// None: nobody's. Dropped: Postgres did not answer.
        reply: oneshot::Sender<Option<Identity>>,
    },
    /// The page behind this key.
    Page {
        /// The key.
        after: Uuid,
    },
}

impl Step {
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
        Self { step, ready: self.ready, done: self.done, permit: newer.permit.or(self.permit) }
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
