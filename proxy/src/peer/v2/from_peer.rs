//! The requests of a peer.

use prost::Message as _;
use tailnet_v2::{messages::tailnet::CoordinateRequest, node::Node};
use uuid::Uuid;

use crate::message::{Ask, Malformed, MalformedKind, Wish};

/// What a request asks, in the order in which that is done, up to the first part that cannot be done.
#[derive(Debug)]
pub struct Request {
    /// What is good.
    pub asks: Vec<Ask>,
    /// Why the rest is not done.
    pub refused: Option<Malformed>,
}

/// Reads a request. On the path of an agent, `only` is that agent: no tunnel to another one is opened.
pub fn parse(bytes: &[u8], only: Option<Uuid>) -> Request {
    let mut asks = Vec::new();
    let refused = read(bytes, only, &mut asks).err().map(|problem| Malformed { kind: MalformedKind::Form, problem });
    Request { asks, refused }
}

fn read(bytes: &[u8], only: Option<Uuid>, asks: &mut Vec<Ask>) -> Result<(), String> {
    let request = CoordinateRequest::decode(bytes).map_err(|error| format!("not a CoordinateRequest: {error}"))?;
    if let Some(update) = request.update_self {
        asks.push(Ask::Announce(node(update.node.unwrap_or_default())?));
    }
    if let Some(tunnel) = request.add_tunnel {
        let dst = uuid(&tunnel.id)?;
        if let Some(agent) = only.filter(|agent| *agent != dst) {
            return Err(format!("authorization: invalid agent id, expected {agent}, got {dst}"));
        }
        asks.push(Ask::Tunnel { dst, wish: Wish::Open });
    }
    if let Some(tunnel) = request.remove_tunnel {
        asks.push(Ask::Tunnel { dst: uuid(&tunnel.id)?, wish: Wish::Close });
    }
    if request.disconnect.is_some() {
        asks.push(Ask::Goodbye);
    }
    if !request.ready_for_handshake.is_empty() {
        let peers = request.ready_for_handshake.iter().map(|ready| uuid(&ready.id));
        asks.push(Ask::Ready(peers.collect::<Result<_, _>>()?));
    }
    Ok(())
}

fn node(node: Node) -> Result<tailnet_wire::Node, String> {
    node.to_json().map_err(|error| error.to_string())
}

/// The words are those that clients know.
fn uuid(bytes: &[u8]) -> Result<Uuid, String> {
    Uuid::from_slice(bytes)
        .map_err(|_| format!("unable to convert bytes to UUID: invalid UUID (got {} bytes)", bytes.len()))
}

#[cfg(test)]
mod tests {
    use tailnet_v2::{
        messages::tailnet::coordinate_request::{Disconnect, ReadyForHandshake, Tunnel, UpdateSelf},
        node::KnownFields,
    };

    use super::*;

    const AGENT: Uuid = Uuid::from_u128(7);

    fn tunnel(id: Uuid) -> Option<Tunnel> {
        Some(Tunnel { id: id.as_bytes().to_vec() })
    }

    #[test]
    fn the_parts_of_a_request_are_done_in_their_order() {
        let request = CoordinateRequest {
            update_self: Some(UpdateSelf {
                node: Some(Node { known: KnownFields { id: 5, ..Default::default() }, unknown: Vec::new() }),
            }),
            disconnect: Some(Disconnect {}),
            add_tunnel: tunnel(AGENT),
            remove_tunnel: tunnel(Uuid::nil()),
            ready_for_handshake: vec![ReadyForHandshake { id: AGENT.as_bytes().to_vec() }; 2],
        };
        let Request { asks, refused: None } = parse(&request.encode_to_vec(), Some(AGENT)) else {
            panic!("it is good")
        };
        let [
            Ask::Announce(node),
            Ask::Tunnel { dst: AGENT, wish: Wish::Open },
            Ask::Tunnel { wish: Wish::Close, .. },
            Ask::Goodbye,
            Ask::Ready(peers),
        ] = &asks[..]
        else {
            panic!("{asks:?}")
        };
        assert_eq!((node.as_str(), peers.len()), (r#"{"id":5}"#, 2));
        assert!(parse(&[], None).asks.is_empty());
    }

    #[test]
    fn what_cannot_be_done_is_named_and_what_comes_before_is_done() {
        let other = Uuid::from_u128(8);
        let request = CoordinateRequest {
            update_self: Some(UpdateSelf { node: None }),
            add_tunnel: tunnel(other),
            ..Default::default()
        };
        let Request { asks, refused } = parse(&request.encode_to_vec(), Some(AGENT));
        assert!(matches!(&asks[..], [Ask::Announce(node)] if node.as_str() == "{}"), "{asks:?}");
        let problem = format!("authorization: invalid agent id, expected {AGENT}, got {other}");
        assert_eq!(refused, Some(Malformed { kind: MalformedKind::Form, problem }));

        for (bytes, named) in [
            (&[0xff][..], "not a CoordinateRequest: "),
            (&[0x1a, 3, 0x0a, 1, 9], "unable to convert bytes to UUID: invalid UUID (got 1 bytes)"),
            (&[0x1a, 0], "invalid UUID (got 0 bytes)"),
        ] {
            let Request { asks, refused } = parse(bytes, None);
            assert!(asks.is_empty());
            let problem = refused.expect(named).problem;
            assert!(problem.contains(named), "{problem}");
        }
    }
}
