//! What a peer says about itself, as far as WireGuard needs it.

use std::{
    net::{Ipv6Addr, SocketAddr},
    time::SystemTime,
};

use anyhow::{Context, Result};
use boringtun::x25519::PublicKey;
use serde_json::{Value, json};
use smoltcp::wire::Ipv6Cidr;
use uuid::Uuid;

use super::key;

/// The node that announces a peer. Its id as an integer is cut from the uuid: no reader here uses it. It has no disco key: this
/// peer discovers no paths, and others take it for one with plain WireGuard.
pub fn to_node(id: Uuid, address: Ipv6Addr, key: &PublicKey, endpoint: SocketAddr) -> Value {
    json!({
        "id": id.as_fields().0,
        "as_of": humantime::format_rfc3339(SystemTime::now()).to_string(),
        "key": key::to_text(key),
        "preferred_derp": 0,
        "addresses": [format!("{address}/128")],
        "allowed_ips": [format!("{address}/128")],
        "endpoints": [endpoint.to_string()],
    })
}

/// Another peer's node, read.
#[derive(Debug, Clone)]
pub struct Announcement {
    pub(super) key: PublicKey,
    pub(super) endpoint: SocketAddr,
    pub(super) allowed_ips: Vec<Ipv6Cidr>,
}

impl Announcement {
    /// Reads a node. IPv4 prefixes are left out: these tunnels carry IPv6 only.
    ///
    /// # Errors
    /// When it has no key, or no endpoint.
    pub fn from_node(node: &Value) -> Result<Self> {
        let key = node["key"].as_str().context("the node has no key")?;
        let endpoint = strings(&node["endpoints"]).next().context("the node has no endpoint")?;
        Ok(Self {
            key: key::from_text(key)?,
            endpoint: endpoint.parse().with_context(|| format!("endpoint {endpoint:?} is no socket address"))?,
            allowed_ips: strings(&node["allowed_ips"]).filter_map(|entry| entry.parse().ok()).collect(),
        })
    }

    pub(super) fn allows(&self, address: Ipv6Addr) -> bool {
        self.allowed_ips.iter().any(|prefix| prefix.contains_addr(&address))
    }
}

fn strings(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allowed_follows_from_the_leading_bits() {
        let allows = |prefix: &str, address: &str| {
            let key = format!("nodekey:{}", "07".repeat(32));
            let node =
                json!({"key": key, "endpoints": ["127.0.0.1:1"], "allowed_ips": [prefix, "10.0.0.0/8", "fd7a::/129"]});
            let announcement = Announcement::from_node(&node).expect("the node is good");
            announcement.allows(address.parse().expect("an address"))
        };
        assert!(allows("fd7a::1/128", "fd7a::1") && !allows("fd7a::1/128", "fd7a::2"));
        assert!(allows("fd7a::/16", "fd7a::2") && !allows("fd7a::/16", "fd7b::2"));
        assert!(allows("::/0", "fd7b::2") && !allows("fd7a::1", "fd7a::1"), "a prefix needs its length");
    }
}
