//! The known fields of a node, the rules for them, and the digest of what a node says.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
};

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::{Number, Value};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::role::Role;

/// The largest node in bytes of text. A real one has 500 to 2,000; the bound keeps one peer from filling a batch.
pub const MAX_NODE_BYTES: usize = 64 * 1024;

/// The networks in which an agent's address may lie: its first six bytes; the other ten are those of its id.
const AGENT_PREFIXES: [[u8; 6]; 2] = [[0xfd, 0x7a, 0x11, 0x5c, 0xa1, 0xe0], [0xfd, 0x60, 0x62, 0x7a, 0xa4, 0x2b]];

/// The address that every agent of older releases has beside its own.
const LEGACY_AGENT: Ipv6Addr = Ipv6Addr::new(0xfd7a, 0x115c, 0xa1e0, 0x49d6, 0xb259, 0xb7ac, 0xb1b2, 0x48f4);

/// How much of an entry is repeated in an error.
const SHOWN: usize = 64;

/// The fields of a node. All are optional; a field that is there has the type given here.
#[derive(Debug, Serialize, Deserialize)]
#[serde(expecting = "an object")]
pub struct NodeFields {
    /// A number that the peer chose: any i64 or u64.
    #[serde(default, deserialize_with = "integer", skip_serializing_if = "Option::is_none")]
    pub id: Option<i128>,
    /// When the peer made the node. Not part of what the node says: two nodes that differ here only are the same.
    #[serde(skip_serializing)]
    pub as_of: Option<String>,
    /// The public key of WireGuard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The public key for the discovery of paths.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disco: Option<String>,
    /// The DERP region through which the peer is reached at first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preferred_derp: Option<i64>,
    /// Seconds to each DERP region, by its id and the version of IP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub derp_latency: Option<BTreeMap<String, f64>>,
    /// Why a DERP region is reached over a websocket only, by its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub derp_forced_websocket: Option<BTreeMap<String, String>>,
    /// The prefixes that are the peer itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addresses: Option<Vec<String>>,
    /// The prefixes for which it takes packets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_ips: Option<Vec<String>>,
    /// The UDP addresses at which it may be reached directly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Vec<String>>,
    #[serde(flatten)]
    unknown: BTreeMap<String, Value>,
}

/// The known fields; [`NodeFields::parse`] refuses other spellings of them.
const FIELDS: [&str; 10] = [
    "id",
    "as_of",
    "key",
    "disco",
    "preferred_derp",
    "derp_latency",
    "derp_forced_websocket",
    "addresses",
    "allowed_ips",
    "endpoints",
];

/// Tells nodes apart without keeping them: the first eight bytes of a SHA-256 over the node without `as_of`, with its
/// keys sorted. Signed, because it is a bigint in Postgres.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(pub i64);

/// What is wrong with a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum NodeError {
    /// More than [`MAX_NODE_BYTES`].
    #[error("node has {0} bytes, expected at most {MAX_NODE_BYTES}")]
    TooLarge(usize),
    /// No object, or a known field of another type: what the parser says of it.
    #[error("node is not an object with the fields of a tailnet node: {0}")]
    Form(String),
    /// Some readers match names without case: a second spelling would smuggle a value past the rules.
    #[error("node has a field {found:?}, expected {expected:?}")]
    Spelling {
        /// As it came, cut to 64 characters.
        found: String,
        /// The known field.
        expected: String,
    },
    /// An address that the role may not announce.
    #[error("node has {entry:?} in {field}, expected {}", expected(*role, *peer))]
    Address {
        /// `addresses` or `allowed_ips`.
        field: String,
        /// The entry, cut to 64 characters.
        entry: String,
        /// The role of the peer.
        role: Role,
        /// The peer.
        peer: Uuid,
    },
}

/// What the entries of `addresses` and `allowed_ips` of a peer must be.
fn expected(role: Role, peer: Uuid) -> String {
    match role {
        Role::Agent => own_addresses(peer).map(|own| format!("{own}/128")).join(" or "),
        Role::Client => "an IPv6 /128".to_owned(),
        Role::Hub => "an IP prefix".to_owned(),
    }
}

impl NodeFields {
    /// Parses the text of a node.
    ///
    /// # Errors
    /// When it is too large, is no object, gives a known field another type, twice, or in another spelling.
    pub fn parse(text: &str) -> Result<Self, NodeError> {
        if text.len() > MAX_NODE_BYTES {
            return Err(NodeError::TooLarge(text.len()));
        }
        let fields: Self = serde_json::from_str(text).map_err(|error| NodeError::Form(error.to_string()))?;
        for found in fields.unknown.keys() {
            if let Some(known) = FIELDS.into_iter().find(|known| known.eq_ignore_ascii_case(found)) {
                return Err(NodeError::Spelling { found: shown(found), expected: known.to_owned() });
            }
        }
        Ok(fields)
    }

    /// Checks the addresses against what `peer` may announce in its role.
    ///
    /// # Errors
    /// Names the first field and entry that breaks the rule, and what was expected.
    pub fn check(&self, role: Role, peer: Uuid) -> Result<(), NodeError> {
        for (field, entries) in [("addresses", &self.addresses), ("allowed_ips", &self.allowed_ips)] {
            if let Some(entry) = entries.iter().flatten().find(|entry| !may_announce(entry, role, peer)) {
                return Err(NodeError::Address { field: field.to_owned(), entry: shown(entry), role, peer });
            }
        }
        Ok(())
    }

    /// The other fields.
    pub fn unknown(&self) -> &BTreeMap<String, Value> {
        &self.unknown
    }

    /// The digest of what the node says.
    pub fn digest(&self) -> Digest {
        let text = serde_json::to_vec(self).expect("a parsed node has string keys and finite numbers");
        let hash: [u8; 32] = Sha256::digest(&text).into();
        let (first, _) = hash.split_first_chunk().expect("32 bytes have 8");
        Digest(i64::from_be_bytes(*first))
    }
}

/// The addresses that belong to a peer with this id, one a prefix.
pub fn own_addresses(id: Uuid) -> [Ipv6Addr; 2] {
    AGENT_PREFIXES.map(|prefix| {
        let mut bytes = *id.as_bytes();
        bytes[..6].copy_from_slice(&prefix);
        Ipv6Addr::from(bytes)
    })
}

fn integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i128>, D::Error> {
    let Some(number) = Option::<Number>::deserialize(deserializer)? else { return Ok(None) };
    let integer = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
    integer.map(Some).ok_or_else(|| D::Error::custom(format_args!("{number} in `id`, expected an integer of 64 bits")))
}

fn may_announce(entry: &str, role: Role, peer: Uuid) -> bool {
    let Some((address, bits)) = parse_prefix(entry) else { return false };
    match (role, address) {
        (Role::Agent, IpAddr::V6(address)) => {
            bits == 128 && (own_addresses(peer).contains(&address) || address == LEGACY_AGENT)
        }
        (Role::Client, IpAddr::V6(_)) => bits == 128,
        (Role::Agent | Role::Client, IpAddr::V4(_)) => false,
        (Role::Hub, _) => true,
    }
}

/// As much of a text of a peer as an error repeats.
fn shown(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

fn parse_prefix(entry: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = entry.split_once('/')?;
    let (address, bits): (IpAddr, u8) = (address.parse().ok()?, bits.parse().ok()?);
    let max = if address.is_ipv4() { 32 } else { 128 };
    (bits <= max).then_some((address, bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Uuid = Uuid::from_u128(0x0102_0304_0506_4708_890a_0b0c_0d0e_0f10);
    const OWN: &str = "fd7a:115c:a1e0:4708:890a:b0c:d0e:f10/128";

    fn parse(text: &str) -> NodeFields {
        NodeFields::parse(text).expect("a node")
    }

    fn refused(text: &str, role: Role) -> String {
        parse(text).check(role, ID).expect_err("refused").to_string()
    }

    #[test]
    fn digest_ignores_as_of_order_and_space_only() {
        let digest = |text| parse(text).digest();
        let one = digest(r#"{"id":1,"as_of":"2026-01-01","key":"a","x":{"b":1,"a":2}}"#);
        assert_eq!(one, digest(r#"{ "x":{"a":2,"b":1}, "key":"a", "as_of":"2027-01-01", "id":1 }"#));
        assert_ne!(one, digest(r#"{"id":1,"key":"b","x":{"b":1,"a":2}}"#));
        assert_ne!(one, digest(r#"{"id":1,"key":"a","x":{"b":1,"a":3}}"#));
    }

    #[test]
    fn an_agent_may_announce_only_the_addresses_of_its_id() {
        let node =
            parse(&format!(r#"{{"addresses":["{OWN}"],"allowed_ips":["fd60:627a:a42b:4708:890a:b0c:d0e:f10/128"]}}"#));
        node.check(Role::Agent, ID).expect("own addresses");
        let error = refused(r#"{"allowed_ips":["fd7a:115c:a1e0::1/128"]}"#, Role::Agent);
        assert_eq!(
            error,
            "node has \"fd7a:115c:a1e0::1/128\" in allowed_ips, expected fd7a:115c:a1e0:4708:890a:b0c:d0e:f10/128 or \
             fd60:627a:a42b:4708:890a:b0c:d0e:f10/128"
        );
        for near in ["/127", "", "/129", "/128/128"] {
            let text = format!(r#"{{"addresses":["{}{near}"]}}"#, OWN.trim_end_matches("/128"));
            refused(&text, Role::Agent);
        }
    }

    #[test]
    fn a_client_needs_128_and_a_hub_any_prefix() {
        parse(r#"{"addresses":["fd7a::5/128"]}"#).check(Role::Client, ID).expect("a /128");
        refused(r#"{"addresses":["fd7a::5/64"]}"#, Role::Client);
        refused(r#"{"addresses":["10.0.0.1/32"]}"#, Role::Client);
        parse(r#"{"addresses":["10.0.0.0/8"],"allowed_ips":["fd7a::/64"]}"#).check(Role::Hub, ID).expect("prefixes");
        refused(r#"{"addresses":["10.0.0.0/33"]}"#, Role::Hub);
    }

    #[test]
    fn a_value_cannot_be_smuggled_past_the_rules() {
        assert!(matches!(
            NodeFields::parse(r#"{"Addresses":["::/0"]}"#),
            Err(NodeError::Spelling { expected, .. }) if expected == "addresses"
        ));
        assert!(matches!(NodeFields::parse(r#"{"addresses":[],"addresses":["::/0"]}"#), Err(NodeError::Form(_))));
        assert!(matches!(NodeFields::parse(r#"{"addresses":"::/0"}"#), Err(NodeError::Form(_))));
    }

    #[test]
    fn what_is_no_node_is_refused() {
        for text in ["[]", "null", "1", "{", r#"{"key":1}"#, &format!("{}1{}", "[".repeat(200), "]".repeat(200))] {
            assert!(matches!(NodeFields::parse(text), Err(NodeError::Form(_))), "{text}");
        }
        let large = format!(r#"{{"x":"{}"}}"#, "x".repeat(MAX_NODE_BYTES));
        assert!(matches!(NodeFields::parse(&large), Err(NodeError::TooLarge(_))));
    }
}
