//! Peers that an operator created.

use serde_json::{Value, json};
use tailnet_wire::{Role, fields::own_addresses};
use uuid::Uuid;

use crate::websocket::Protocol;

/// An identity, with the token that was shown once.
#[derive(Debug, Clone)]
pub struct TestIdentity {
    /// The peer id.
    pub id: Uuid,
    /// What it may do.
    pub role: Role,
    /// The token.
    pub token: String,
    /// Names it in failures.
    pub name: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// Its nodes have only what both protocols can say.
    pub plain: bool,
}

impl TestIdentity {
    /// One that speaks `tailnet.v1.json`.
    pub fn new(id: Uuid, role: Role, token: String, name: String) -> Self {
        Self { id, role, token, name, protocol: Protocol::V1, plain: false }
    }

    /// A whole node that this peer may announce. Nodes of different versions differ in what they say, not in `as_of`
    /// only. The last field is one that no coordinator knows, and that v2 cannot say.
    pub fn node(&self, version: u64) -> Value {
        let [address, _] = own_addresses(self.id);
        let mut node = json!({
            "id": version,
            "as_of": "2026-01-01T00:00:00Z",
            "key": format!("nodekey:{version:064x}"),
            "disco": "discokey:00",
            "preferred_derp": 999,
            "derp_latency": {"999-v4": 0.0125},
            "addresses": [format!("{address}/128")],
            "allowed_ips": [format!("{address}/128")],
            "endpoints": ["127.0.0.1:41641"],
        });
        if !self.plain {
            node["derp_forced_websocket"] = json!({});
            node["unheard_of"] = json!({"kept": [1, null, "as it came"]});
        }
        node
    }
}
