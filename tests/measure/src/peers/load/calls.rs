//! The calls of one peer that speaks tailnet v2, and the nodes in them.

use std::collections::HashMap;

use prost::Message as _;
use tailnet_v2::{
    caller::{Broken, Caller, Event},
    messages::{
        path,
        tailnet::{
            CoordinateRequest, CoordinateResponse,
            coordinate_request::{Tunnel, UpdateSelf},
        },
    },
    node::Node,
    yamux::StreamId,
};
use tailnet_wire::fields::own_addresses;
use uuid::Uuid;

use crate::common::node::SMALL;

/// The calls of one connection: Coordinate, and StreamDERPMaps.
#[derive(Debug)]
pub struct Calls {
    caller: Caller,
    coordinate: StreamId,
    events: Vec<Event>,
}

impl Calls {
    /// Begins both.
    pub fn begin() -> Self {
        let mut caller = Caller::default();
        let coordinate = caller.call(path::COORDINATE);
        caller.ask(path::STREAM_DERP_MAPS, &[]);
        Self { caller, coordinate, events: Vec::new() }
    }

    /// Announces a node, and opens a tunnel if there is one to open.
    pub fn announce(&mut self, node: &mut Node, tunnel: Option<Uuid>) {
        let request = CoordinateRequest {
            update_self: Some(UpdateSelf { node: Some(std::mem::take(node)) }),
            add_tunnel: tunnel.map(|id| Tunnel { id: id.as_bytes().to_vec() }),
            ..CoordinateRequest::default()
        };
        self.caller.send(self.coordinate, &request.encode_to_vec());
        *node = request.update_self.and_then(|update| update.node).unwrap_or_default();
    }

    /// Says that it lives.
    pub fn ping(&mut self) {
        self.caller.ping();
    }

    /// Reads bytes of the proxy, and returns what Coordinate said.
    pub fn hear(&mut self, bytes: &[u8]) -> Result<Vec<CoordinateResponse>, Unexpected> {
        self.caller.receive(bytes, &mut self.events)?;
        let mut responses = Vec::new();
        for event in self.events.drain(..) {
            match event {
                Event::Message(call, bytes) if call == self.coordinate => {
                    responses.push(CoordinateResponse::decode(bytes.as_slice())?);
                }
                // A DERP map.
                Event::Message(..) | Event::Ping => {}
                Event::Closed(_) | Event::Failed(..) | Event::GoAway => return Err(Unexpected::End(event)),
            }
        }
        Ok(responses)
    }

    /// The bytes that are to be sent.
    pub fn take_output(&mut self) -> Vec<u8> {
        self.caller.take_output()
    }
}

/// What no proxy should send here.
#[derive(Debug, thiserror::Error)]
pub enum Unexpected {
    #[error(transparent)]
    Broken(#[from] Broken),
    #[error(transparent)]
    Malformed(#[from] prost::DecodeError),
    #[error("the end of a call: {0:?}")]
    End(Event),
}

/// The nodes of peers, the same as [`SMALL`]. Each is made once: versions differ in two fields.
#[derive(Debug)]
pub struct Nodes {
    shape: Node,
    made: HashMap<Uuid, Node>,
}

impl Nodes {
    pub fn new() -> Self {
        let text = SMALL.text(Uuid::nil(), 0);
        let node = tailnet_wire::Node::new(text).expect("the node of a benchmark is one");
        let shape = Node::of_json(&node).expect("its fields are those of a node").node;
        Self { shape, made: HashMap::new() }
    }

    /// The node of a peer.
    pub fn node(&mut self, id: Uuid, version: u64) -> &mut Node {
        let node = self.made.entry(id).or_insert_with(|| {
            let mut node = self.shape.clone();
            let ([address, _], number) = (own_addresses(id), id.as_u128());
            node.known.disco = format!("discokey:{number:064x}");
            node.known.addresses = vec![format!("{address}/128")];
            node.known.allowed_ips.clone_from(&node.known.addresses);
            node
        });
        let known = &mut node.known;
        known.id = version.cast_signed();
        known.key.truncate(known.key.len() - 8);
        known.key.extend(version.to_be_bytes());
        node
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_those_of_json_peers() {
        let id = Uuid::from_u128(0x1234_5678_9abc_4def_8123_4567_89ab_cdef);
        let json = tailnet_wire::Node::new(SMALL.text(id, 70_001)).expect("a node");
        let told = Node::of_json(&json).expect("a node");
        assert_eq!((&*Nodes::new().node(id, 70_001), 0), (&told.node, told.left_out));
    }
}
