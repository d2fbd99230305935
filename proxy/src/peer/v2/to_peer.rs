//! The responses to a peer.

use prost::Message as _;
use tailnet_v2::{
    messages::tailnet::{
        CoordinateResponse,
        coordinate_response::{PeerUpdate, peer_update::Kind},
    },
    node::Node,
};
use tailnet_wire::{NodeError, Refusal, Role};

use crate::message::{Change, Refused, Update};

/// A response is cut after the update that passes this many bytes.
const MAX_RESPONSE: usize = 64 * 1024;

/// The responses that carry these updates, and how many parts of nodes v2 cannot say.
pub fn updates(updates: &[Update]) -> (Vec<Vec<u8>>, u64) {
    let (mut responses, mut response, mut bytes, mut left_out) = (Vec::new(), CoordinateResponse::default(), 0, 0);
    for update in updates {
        let Some(told) = peer_update(update, &mut left_out) else { continue };
        bytes += told.encoded_len();
        response.peer_updates.push(told);
        if bytes > MAX_RESPONSE {
            responses.push(std::mem::take(&mut response).encode_to_vec());
            bytes = 0;
        }
    }
    if !response.peer_updates.is_empty() {
        responses.push(response.encode_to_vec());
    }
    (responses, left_out)
}

/// None: the node is none, which the extension does not let through.
fn peer_update(update: &Update, left_out: &mut u64) -> Option<PeerUpdate> {
    let (kind, node, reason) = match &update.change {
        Change::Node(node) => {
            let told = Node::of_json(node).ok()?;
            *left_out += told.left_out as u64;
            (Kind::Node, Some(told.node), "")
        }
        Change::Lost => (Kind::Lost, None, "its connection ended without a goodbye"),
        Change::Disconnected => (Kind::Disconnected, None, "it disconnected, or the tunnel was closed"),
        Change::ReadyForHandshake => (Kind::ReadyForHandshake, None, ""),
    };
    Some(PeerUpdate { id: update.id.as_bytes().to_vec(), node, kind: kind.into(), reason: reason.to_owned() })
}

/// The response that says what was not done.
pub fn error(words: &str) -> Vec<u8> {
    CoordinateResponse { error: words.to_owned(), ..CoordinateResponse::default() }.encode_to_vec()
}

/// The words of a refusal. Clients and their tests know some of them, so those stay as they are.
pub fn words(refused: &Refused) -> String {
    match refused {
        Refused::Rule(Refusal::Node(NodeError::Address { field, entry, .. })) => {
            let field = if field == "addresses" { "Addresses" } else { "AllowedIps" };
            let (address, bits) = entry.split_once('/').unwrap_or((entry, ""));
            match bits {
                "128" => format!("authorization: {field}: invalid node address, got {address}"),
                _ => format!("authorization: {field}: invalid address bits, expected 128, got {bits}"),
            }
        }
        Refused::Rule(Refusal::Node(error)) => format!("authorization: {error}"),
        Refused::Rule(Refusal::Tunnel { dst, role: Role::Agent }) => {
            format!("authorization: agents cannot open tunnels, got one to {dst}")
        }
        Refused::Rule(Refusal::Tunnel { dst, .. }) => {
            format!("authorization: no policy and no grant allows a tunnel to {dst}")
        }
        Refused::Rule(Refusal::HandshakeByRole(role)) => {
            format!("authorization: a {role} may not send ready_for_handshake")
        }
        Refused::Rule(Refusal::HandshakeWithoutTunnel { dst }) => {
            format!("ready for handshake error: you do not share a tunnel with \"{dst}\"")
        }
        Refused::Postgres(said) => said.clone(),
        Refused::Report { problem, .. } => format!("the report is refused: {problem}"),
        Refused::ReportByRole(role) => format!("a {role} does not report connections, only an agent"),
    }
}

#[cfg(test)]
mod tests {
    use tailnet_wire::NodeFields;
    use uuid::Uuid;

    use super::*;

    const ID: Uuid = Uuid::from_u128(7);

    fn update(change: Change) -> Update {
        Update { id: ID, change }
    }

    fn node(text: &str) -> Change {
        Change::Node(tailnet_wire::Node::new(text.to_owned()).expect("JSON"))
    }

    #[test]
    fn updates_have_the_kinds_of_the_protocol() {
        let all = [node(r#"{"id":3,"x":1}"#), Change::Lost, Change::Disconnected, Change::ReadyForHandshake];
        let (responses, left_out) = updates(&all.map(update));
        assert_eq!((responses.len(), left_out), (1, 1));
        let response = CoordinateResponse::decode(responses[0].as_slice()).expect("a response");
        let kinds: Vec<_> = response.peer_updates.iter().map(|update| update.kind).collect();
        assert_eq!(kinds, [1, 3, 2, 4]);
        let nodes = response.peer_updates.iter().filter(|update| update.node.is_some()).count();
        assert_eq!(nodes, 1, "LOST carries no node");
    }

    #[test]
    fn a_response_is_cut_after_the_update_that_passes_64_kib() {
        let large = node(&format!(r#"{{"disco":"{}"}}"#, "x".repeat(40_000)));
        let (responses, _) = updates(&vec![update(large); 5]);
        let counts: Vec<_> = responses
            .iter()
            .map(|bytes| CoordinateResponse::decode(bytes.as_slice()).expect("a response").peer_updates.len())
            .collect();
        assert_eq!(counts, [2, 2, 1]);
    }

    #[test]
    fn refusals_have_the_words_that_clients_know() {
        let address = |entry: &str, role| {
            let text = format!(r#"{{"addresses":["{entry}"]}}"#);
            let error = NodeFields::parse(&text).expect("a node").check(role, ID).expect_err("refused");
            words(&Refused::Rule(Refusal::Node(error)))
        };
        assert_eq!(
            address("fd7a:115c:a1e0::1/128", Role::Agent),
            "authorization: Addresses: invalid node address, got fd7a:115c:a1e0::1"
        );
        assert_eq!(
            address("fd7a::/64", Role::Client),
            "authorization: Addresses: invalid address bits, expected 128, got 64"
        );
        assert_eq!(
            words(&Refused::Rule(Refusal::HandshakeWithoutTunnel { dst: ID })),
            format!("ready for handshake error: you do not share a tunnel with \"{ID}\"")
        );
    }
}
