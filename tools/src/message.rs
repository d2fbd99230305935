//! The frames of the websocket, as `docs/protocol.md` defines them.
//!
//! Written down a second time on purpose: tests that shared the proxy's types could not notice that the wire changed.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// What a peer asks of its proxy. Any of the fields may be set in one frame.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Request {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) report_connections: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) update_self: Option<UpdateSelf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) add_tunnel: Option<PeerId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remove_tunnel: Option<PeerId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) disconnect: Option<Goodbye>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) ready_for_handshake: Vec<PeerId>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct UpdateSelf {
    pub(crate) node: Value,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct PeerId {
    pub(crate) id: Uuid,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Goodbye {}

impl Request {
    /// Announces a node.
    pub fn node(node: &Value) -> Self {
        Self::default().and_node(node)
    }

    /// Opens a tunnel to `id`.
    pub fn add_tunnel(id: Uuid) -> Self {
        Self::default().and_add_tunnel(id)
    }

    /// Closes the tunnel to `id`.
    pub fn remove_tunnel(id: Uuid) -> Self {
        Self::default().and_remove_tunnel(id)
    }

    /// Says goodbye.
    pub fn disconnect() -> Self {
        Self::default().and_disconnect()
    }

    /// Tells each of `ids` that this peer is ready for a handshake.
    pub fn ready_for_handshake(ids: &[Uuid]) -> Self {
        Self::default().and_ready_for_handshake(ids)
    }

    /// Reports connections.
    pub fn report_connections(reports: &[Value]) -> Self {
        Self { report_connections: reports.to_vec(), ..Self::default() }
    }

    /// Announces a node in the same frame.
    #[must_use]
    pub fn and_node(mut self, node: &Value) -> Self {
        self.update_self = Some(UpdateSelf { node: node.clone() });
        self
    }

    /// Opens a tunnel in the same frame.
    #[must_use]
    pub fn and_add_tunnel(mut self, id: Uuid) -> Self {
        self.add_tunnel = Some(PeerId { id });
        self
    }

    /// Closes a tunnel in the same frame.
    #[must_use]
    pub fn and_remove_tunnel(mut self, id: Uuid) -> Self {
        self.remove_tunnel = Some(PeerId { id });
        self
    }

    /// Says goodbye in the same frame.
    #[must_use]
    pub fn and_disconnect(mut self) -> Self {
        self.disconnect = Some(Goodbye {});
        self
    }

    /// Says that it is ready in the same frame.
    #[must_use]
    pub fn and_ready_for_handshake(mut self, ids: &[Uuid]) -> Self {
        self.ready_for_handshake = ids.iter().map(|&id| PeerId { id }).collect();
        self
    }
}

/// What happened to another peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Kind {
    /// It announced a node.
    Node,
    /// Its session ended without a goodbye; it may come back.
    Lost,
    /// It said goodbye, or the tunnel to it was closed.
    Disconnected,
    /// It waits for a handshake.
    ReadyForHandshake,
}

/// One entry of `peer_updates`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Update {
    /// Which peer it is about.
    pub id: Uuid,
    /// What happened to it.
    pub kind: Kind,
    /// Its node, if the kind is [`Kind::Node`].
    pub node: Option<Value>,
    /// Why, for the human reader.
    pub reason: Option<String>,
}

/// The most updates that a proxy may put into one frame.
pub const MAX_UPDATES: usize = 1024;

/// One frame from the proxy, or the end of them.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// `peer_updates`.
    Updates(Vec<Update>),
    /// `acknowledged`: reports of this peer that are committed.
    Acknowledged(Vec<Uuid>),
    /// `resume`: the peer's own id, and the token with which it comes back as the same peer.
    Resume {
        /// The peer.
        id: Uuid,
        /// The token.
        token: String,
    },
    /// `error`.
    Error(String),
    /// The websocket ended. No code: without a close frame.
    Closed {
        /// The code of the close frame.
        code: Option<u16>,
        /// Its reason, or what broke.
        reason: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, untagged)]
enum Frame {
    Updates { peer_updates: Vec<Update> },
    Acknowledged { acknowledged: Vec<Uuid> },
    Resume { resume: Resume },
    Error { error: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resume {
    id: Uuid,
    token: String,
}

impl Message {
    /// Reads a text frame of the proxy. Strict, because it is the proxy that is under test.
    ///
    /// # Errors
    /// When the frame is none of the documented ones, or has more than [`MAX_UPDATES`].
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        Ok(match serde_json::from_str(text)? {
            Frame::Updates { peer_updates } if peer_updates.len() > MAX_UPDATES => {
                let error = format!("{} updates in a frame, expected at most {MAX_UPDATES}", peer_updates.len());
                return Err(serde::de::Error::custom(error));
            }
            Frame::Updates { peer_updates } => Self::Updates(peer_updates),
            Frame::Acknowledged { acknowledged } => Self::Acknowledged(acknowledged),
            Frame::Resume { resume: Resume { id, token } } => Self::Resume { id, token },
            Frame::Error { error } => Self::Error(error),
        })
    }
}
