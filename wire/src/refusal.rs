//! Why a request of a peer was not done.
//!
//! A refusal carries its values and no sentence: each wire format of peers words it in its own way.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{fields::NodeError, role::Role};

/// What the extension does not do for a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The node that it announced breaks a rule.
    Node(NodeError),
    /// It may not open this tunnel.
    Tunnel {
        /// The other end.
        dst: Uuid,
        /// The role of the peer that asked.
        role: Role,
    },
    /// Its role does not say that it is ready for a handshake.
    HandshakeByRole(Role),
    /// It said that it is ready for a handshake with a peer that shares no tunnel with it.
    HandshakeWithoutTunnel {
        /// The other peer.
        dst: Uuid,
    },
}

impl Refusal {
    /// Whether the session must end. A peer cannot know that a tunnel has just been closed, so it may go on then.
    pub fn is_fatal(&self) -> bool {
        !matches!(self, Self::HandshakeWithoutTunnel { .. })
    }
}
