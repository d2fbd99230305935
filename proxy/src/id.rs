//! Which session of which peer.

use std::fmt;

use tailnet_wire::Role;
use uuid::Uuid;

/// One websocket of a peer. Of two sessions of a peer the one with the higher number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId {
    /// The peer.
    pub peer: Uuid,
    /// Given by the extension when the peer's token was checked.
    pub number: i64,
}

/// Whose token it was, and the session that it opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The session.
    pub id: SessionId,
    /// What the peer may be.
    pub role: Role,
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.peer, self.number)
    }
}
