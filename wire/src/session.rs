//! Which websocket of which peer.

use std::fmt;

use uuid::Uuid;

/// One websocket of a peer. Of two sessions of a peer the one with the higher number is the newer, and it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId {
    /// The id of the peer.
    pub peer: Uuid,
    /// The extension gives it when it checks the token of the peer; it rises.
    pub number: i64,
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.peer, self.number)
    }
}
