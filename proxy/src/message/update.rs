//! What a peer is told of another peer.

use tailnet_wire::Node;
use uuid::Uuid;

/// One piece of news about another peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// The other peer.
    pub id: Uuid,
    /// What happened to it.
    pub change: Change,
}

/// What happened to the other peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It announced this node.
    Node(Node),
    /// Its session ended without a goodbye.
    Lost,
    /// It said goodbye, or no tunnel is shared with it any more.
    Disconnected,
    /// It is ready for a handshake.
    ReadyForHandshake,
}
