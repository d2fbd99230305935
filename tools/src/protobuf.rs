//! What a peer says to a proxy and hears, in tailnet v2.

use prost::Message as _;
use serde_json::Value;
use tailnet_v2::{
    messages::tailnet::{
        CoordinateRequest, CoordinateResponse,
        coordinate_request::{Disconnect, ReadyForHandshake, Tunnel, UpdateSelf},
        coordinate_response::{PeerUpdate, peer_update},
    },
    node::Node,
};
use uuid::Uuid;

use crate::message::{Kind, MAX_UPDATES, Message, PeerId, Request, Update};

/// Why something cannot be said, or was not understood.
#[derive(Debug, thiserror::Error)]
pub enum ProtobufError {
    /// Protobuf has no word for what JSON peers may say.
    #[error("v2 cannot say it: {0}")]
    Unspeakable(String),
    /// The proxy sent what is no documented message.
    #[error("the proxy sent what is no documented message: {0}")]
    Undocumented(String),
}

/// The bytes of a request.
///
/// # Errors
/// When v2 cannot say it.
pub fn encode(request: &Request) -> Result<Vec<u8>, ProtobufError> {
    if !request.report_connections.is_empty() {
        return Err(ProtobufError::Unspeakable("reports have a call of their own".to_owned()));
    }
    let tunnel = |peer: &PeerId| Tunnel { id: peer.id.as_bytes().to_vec() };
    let update_self = request.update_self.as_ref().map(|update| node(&update.node)).transpose()?;
    let ready = request.ready_for_handshake.iter();
    let message = CoordinateRequest {
        update_self: update_self.map(|node| UpdateSelf { node: Some(node) }),
        disconnect: request.disconnect.as_ref().map(|_| Disconnect {}),
        add_tunnel: request.add_tunnel.as_ref().map(tunnel),
        remove_tunnel: request.remove_tunnel.as_ref().map(tunnel),
        ready_for_handshake: ready.map(|peer| ReadyForHandshake { id: peer.id.as_bytes().to_vec() }).collect(),
    };
    Ok(message.encode_to_vec())
}

/// What v2 can say of a node; what it cannot is left out.
fn node(node: &Value) -> Result<Node, ProtobufError> {
    let unspeakable = |problem: String| ProtobufError::Unspeakable(problem);
    let node = tailnet_wire::Node::new(node.to_string()).map_err(|error| unspeakable(error.to_string()))?;
    Node::of_json(&node).map(|told| told.node).map_err(|error| unspeakable(error.to_string()))
}

/// What v2 can say of a node, in JSON; None: it is no node.
pub fn spoken(json: &Value) -> Option<Value> {
    let text = node(json).ok()?.to_json().ok()?;
    serde_json::from_str(text.as_str()).ok()
}

/// What a response says. Strict, because it is the proxy that is under test.
///
/// # Errors
/// When it is no documented message.
pub fn decode(bytes: &[u8]) -> Result<Message, ProtobufError> {
    let undocumented = |problem: String| ProtobufError::Undocumented(problem);
    let CoordinateResponse { peer_updates, error } =
        CoordinateResponse::decode(bytes).map_err(|error| undocumented(error.to_string()))?;
    if !error.is_empty() {
        return Ok(Message::Error(error));
    }
    if peer_updates.len() > MAX_UPDATES {
        return Err(undocumented(format!("{} updates, expected at most {MAX_UPDATES}", peer_updates.len())));
    }
    peer_updates.into_iter().map(update).collect::<Result<_, _>>().map(Message::Updates)
}

fn update(update: PeerUpdate) -> Result<Update, ProtobufError> {
    let undocumented = |problem: String| ProtobufError::Undocumented(problem);
    let kind = match update.kind() {
        peer_update::Kind::Node => Kind::Node,
        peer_update::Kind::Disconnected => Kind::Disconnected,
        peer_update::Kind::Lost => Kind::Lost,
        peer_update::Kind::ReadyForHandshake => Kind::ReadyForHandshake,
        peer_update::Kind::Unspecified => return Err(undocumented(format!("an update of kind {}", update.kind))),
    };
    if update.node.is_some() != (kind == Kind::Node) {
        return Err(undocumented(format!("a node in an update of kind {kind:?}, or none in one of kind Node")));
    }
    let node = update.node.map(|node| {
        let text = node.to_json().map_err(|error| undocumented(error.to_string()))?;
        serde_json::from_str(text.as_str()).map_err(|error| undocumented(error.to_string()))
    });
    Ok(Update {
        id: Uuid::from_slice(&update.id).map_err(|error| undocumented(error.to_string()))?,
        kind,
        node: node.transpose()?,
        reason: Some(update.reason).filter(|reason| !reason.is_empty()),
    })
}
