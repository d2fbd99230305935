//! Requests of the querier: it checks tokens and asks for pages of views.

use tailnet_wire::{Role, SessionId};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::batch::{batcher::Request, request::proof::Proof};

/// The SHA-256 of a token. The token itself never leaves the edge.
pub type TokenHash = [u8; 32];

/// A peer whose token is good, and the session that it may open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// The session.
    pub id: SessionId,
    /// Proves its number.
    pub proof: Proof,
    /// The role of the peer.
    pub role: Role,
}

/// The key of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Question {
    /// About a token, by a number of its own: two upgrades with one token are two sessions.
    Token(u64),
    /// About the view of a session.
    Page(SessionId),
}

/// What is asked.
#[derive(Debug)]
pub enum QuerierRequest {
    /// Whose token is it?
    Token {
        /// What the extension knows of the token.
        hash: TokenHash,
        /// The answer; None: the token is not good. It is dropped when Postgres does not answer.
        reply: oneshot::Sender<Option<Admitted>>,
    },
    /// The next page of a view.
    Page {
        /// The page begins after this key.
        after: Uuid,
    },
}

impl Request for QuerierRequest {
    const WORKER: &'static str = "querier";

    fn merge(self, newer: Self) -> Self {
        newer
    }
}
