//! What a peer is sent: docs/protocol.md, "To the peer".

use serde::Serialize;
use serde_json::value::RawValue;
use tailnet_wire::{Node, Refusal, Role};
use uuid::Uuid;

use crate::message::{Change, Refused, Update};

#[derive(Serialize)]
struct PeerUpdate<'a> {
    id: Uuid,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a Node>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

impl<'a> From<&'a Update> for PeerUpdate<'a> {
    fn from(update: &'a Update) -> Self {
        let (kind, node, reason) = match &update.change {
            Change::Node(node) => ("NODE", Some(node), None),
            Change::Lost => ("LOST", None, Some("its connection ended without a goodbye")),
            Change::Disconnected => ("DISCONNECTED", None, Some("it disconnected, or the tunnel was closed")),
            Change::ReadyForHandshake => ("READY_FOR_HANDSHAKE", None, None),
        };
        Self { id: update.id, kind, node, reason }
    }
}

/// The text of a frame with updates.
pub fn updates(updates: &[Update]) -> String {
    #[derive(Serialize)]
    struct Updates<'a> {
        peer_updates: Vec<PeerUpdate<'a>>,
    }
    text(&Updates { peer_updates: updates.iter().map(PeerUpdate::from).collect() })
}

/// The text of a frame that acknowledges reports.
pub fn acknowledged(ids: &[Uuid]) -> String {
    #[derive(Serialize)]
    struct Acknowledged<'a> {
        acknowledged: &'a [Uuid],
    }
    text(&Acknowledged { acknowledged: ids })
}

/// The text of a frame with the DERP map; None: the network has none.
pub fn derp_map(map: Option<&RawValue>) -> String {
    #[derive(Serialize)]
    struct Frame<'a> {
        derp_map: Option<&'a RawValue>,
    }
    text(&Frame { derp_map: map })
}

/// The text of the frame with which a peer comes back as the same peer.
pub fn resume(id: Uuid, token: &str) -> String {
    #[derive(Serialize)]
    struct Resume<'a> {
        id: Uuid,
        token: &'a str,
    }
    #[derive(Serialize)]
    struct Frame<'a> {
        resume: Resume<'a>,
    }
    text(&Frame { resume: Resume { id, token } })
}

pub fn error(error: &str) -> String {
    #[derive(Serialize)]
    struct Error<'a> {
        error: &'a str,
    }
    text(&Error { error })
}

fn text(frame: &impl Serialize) -> String {
    serde_json::to_string(frame).expect("frames have string keys only")
}

/// The words of a refusal.
pub fn words(refused: &Refused) -> String {
    match refused {
        Refused::Rule(Refusal::Node(error)) => error.to_string(),
        Refused::Rule(Refusal::Tunnel { dst, role }) => {
            let expected = match role {
                Role::Agent => "an agent opens no tunnels",
                Role::Client => "a client opens tunnels to the agents that it was granted",
                Role::Hub => "a hub opens tunnels to the other peers of its network",
            };
            format!("tunnel to {dst} is refused: {expected}")
        }
        Refused::Rule(Refusal::HandshakeByRole(role)) => {
            format!("ready_for_handshake is refused: a {role} does not send it")
        }
        Refused::Rule(Refusal::HandshakeWithoutTunnel { dst }) => {
            format!("ready_for_handshake for {dst} is refused: there is no tunnel with it")
        }
        Refused::Postgres(said) => said.clone(),
        Refused::Report { id, problem } => format!("report {id} is refused: {problem}"),
        Refused::ReportByRole(role) => {
            format!("report_connections is refused: a {role} does not send it, only an agent")
        }
    }
}

#[cfg(test)]
mod tests {
    use tailnet_wire::NodeError;

    use super::*;

    const ID: &str = "00000000-0000-0000-0000-000000000007";

    #[test]
    fn updates_are_worded_byte_for_byte() {
        let id = Uuid::from_u128(7);
        let node = Node::new(r#"{"b":1e2, "a":"\u00e9",  "a":[ ]}"#.to_owned()).expect("JSON");
        let changes = [Change::Node(node), Change::Lost, Change::Disconnected, Change::ReadyForHandshake];
        let all: Vec<_> = changes.into_iter().map(|change| Update { id, change }).collect();
        let lost = r#""kind":"LOST","reason":"its connection ended without a goodbye""#;
        let gone = r#""kind":"DISCONNECTED","reason":"it disconnected, or the tunnel was closed""#;
        assert_eq!(
            updates(&all),
            format!(
                r#"{{"peer_updates":[{{"id":"{ID}","kind":"NODE","node":{{"b":1e2, "a":"\u00e9",  "a":[ ]}}}},{{"id":"{ID}",{lost}}},{{"id":"{ID}",{gone}}},{{"id":"{ID}","kind":"READY_FOR_HANDSHAKE"}}]}}"#
            )
        );
        assert_eq!(acknowledged(&[id]), format!(r#"{{"acknowledged":["{ID}"]}}"#));
        assert_eq!(resume(id, "tnr_x"), format!(r#"{{"resume":{{"id":"{ID}","token":"tnr_x"}}}}"#));
        assert_eq!(error("a \"b\""), r#"{"error":"a \"b\""}"#);
    }

    #[test]
    fn refusals_are_worded_byte_for_byte() {
        let dst = Uuid::from_u128(7);
        let address = NodeError::Address {
            field: "addresses".to_owned(),
            entry: "::/0".to_owned(),
            role: Role::Client,
            peer: dst,
        };
        for (refused, expected) in [
            (
                Refused::Rule(Refusal::Node(address)),
                r#"node has "::/0" in addresses, expected an IPv6 /128"#.to_owned(),
            ),
            (
                Refused::Rule(Refusal::Tunnel { dst, role: Role::Client }),
                format!("tunnel to {ID} is refused: a client opens tunnels to the agents that it was granted"),
            ),
            (
                Refused::Rule(Refusal::HandshakeByRole(Role::Client)),
                "ready_for_handshake is refused: a client does not send it".to_owned(),
            ),
            (
                Refused::Rule(Refusal::HandshakeWithoutTunnel { dst }),
                format!("ready_for_handshake for {ID} is refused: there is no tunnel with it"),
            ),
            (Refused::Postgres("no".to_owned()), "no".to_owned()),
            (Refused::Report { id: dst, problem: "no".to_owned() }, format!("report {ID} is refused: no")),
            (
                Refused::ReportByRole(Role::Hub),
                "report_connections is refused: a hub does not send it, only an agent".to_owned(),
            ),
        ] {
            assert_eq!(words(&refused), expected);
        }
    }
}
