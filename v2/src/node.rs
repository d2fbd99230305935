//! A node in protobuf, and to and from JSON.
//!
//! JSON is what the extension stores and what JSON peers read. A node of a v2 peer becomes JSON with sorted keys and without
//! defaults, which protobuf cannot tell from absent fields. Fields that our schema does not have travel as base64 in
//! [`UNKNOWN`], and v2 peers get them back. What JSON peers may say and protobuf cannot is left out for v2 peers.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use prost::{
    DecodeError, Message,
    bytes::{Buf, BufMut},
    encoding::{self, DecodeContext, WireType},
};
use prost_types::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tailnet_wire::{NodeError, NodeFields};

mod plain {
    #![allow(missing_docs, clippy::all)]
    include!(concat!(env!("OUT_DIR"), "/node/coder.tailnet.v2.rs"));
}

pub use plain::Node as KnownFields;

/// The JSON field that holds unknown fields of protobuf.
pub const UNKNOWN: &str = "unknown_protobuf_fields";

/// The highest number of a known field.
const LAST_KNOWN: u32 = 10;

/// How the bytes of a key begin.
const KEY_BYTES: &[u8] = b"np";

/// How the text of a key begins.
const KEY_TEXT: &str = "nodekey:";

/// The seconds of the years 1 to 9999, which RFC 3339 can write.
pub const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// A node, with the fields that the schema does not have.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Node {
    /// The fields of the schema.
    pub known: KnownFields,
    /// All other fields, as bytes of protobuf.
    pub unknown: Vec<u8>,
}

/// What of a JSON node a v2 peer is told, and how much is left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// The node.
    pub node: Node,
    /// Fields and entries that protobuf cannot say.
    pub left_out: usize,
}

/// The fields in JSON, in the order of their names. Defaults are left out.
#[derive(Serialize)]
struct Fields<'a> {
    #[serde(skip_serializing_if = "is_default")]
    addresses: &'a [String],
    #[serde(skip_serializing_if = "is_default")]
    allowed_ips: &'a [String],
    #[serde(skip_serializing_if = "is_default")]
    as_of: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    derp_forced_websocket: BTreeMap<String, &'a str>,
    #[serde(skip_serializing_if = "is_default")]
    derp_latency: Option<&'a BTreeMap<String, f64>>,
    #[serde(skip_serializing_if = "is_default")]
    disco: &'a str,
    #[serde(skip_serializing_if = "is_default")]
    endpoints: &'a [String],
    #[serde(skip_serializing_if = "is_default")]
    id: i64,
    #[serde(skip_serializing_if = "is_default")]
    key: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    preferred_derp: i32,
    /// [`UNKNOWN`].
    #[serde(skip_serializing_if = "is_default")]
    unknown_protobuf_fields: String,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Node {
    /// The JSON text, with sorted keys.
    ///
    /// # Errors
    /// When a field has a value that JSON, or a reader of it, cannot have.
    pub fn to_json(&self) -> Result<tailnet_wire::Node, NodeError> {
        let wrong = |problem: String| Err(NodeError::Form(problem));
        let KnownFields {
            id,
            as_of,
            key,
            disco,
            preferred_derp,
            derp_latency,
            derp_forced_websocket,
            addresses,
            allowed_ips,
            endpoints,
        } = &self.known;
        if let Some(time) = as_of
            && (!SECONDS.contains(&time.seconds) || !(0..1_000_000_000).contains(&time.nanos))
        {
            return wrong("as_of is not a time of the years 1 to 9999".to_owned());
        }
        let key = match (key.as_slice(), key.strip_prefix(KEY_BYTES)) {
            ([], _) => None,
            (_, Some(bytes)) if bytes.len() == 32 => Some(text_of(bytes)),
            _ => return wrong(format!("key has {} bytes, expected \"np\" and 32 bytes", key.len())),
        };
        if let Some(seconds) = derp_latency.values().find(|seconds| !seconds.is_finite()) {
            return wrong(format!("derp_latency is {seconds} for a region, expected a finite number"));
        }
        let fields = Fields {
            addresses,
            allowed_ips,
            as_of: as_of.map(|time| time.to_string()),
            derp_forced_websocket: derp_forced_websocket
                .iter()
                .map(|(region, why)| (region.to_string(), why.as_str()))
                .collect(),
            derp_latency: (!derp_latency.is_empty()).then_some(derp_latency),
            disco,
            endpoints,
            id: *id,
            key,
            preferred_derp: *preferred_derp,
            unknown_protobuf_fields: BASE64_STANDARD.encode(&self.unknown),
        };
        Ok(tailnet_wire::Node::print(&fields).expect("all keys are strings"))
    }

    /// What protobuf can say of a JSON node.
    ///
    /// # Errors
    /// When it is not a node.
    pub fn of_json(node: &tailnet_wire::Node) -> Result<Told, NodeError> {
        let fields = node.fields()?;
        let mut left_out = 0;
        let unknown = unknown_of(&fields, &mut left_out);
        // None of none is nothing; none of something counts.
        fn converted<T, U>(value: Option<T>, left_out: &mut usize, convert: impl FnOnce(T) -> Option<U>) -> Option<U> {
            let value = value?;
            let converted = convert(value);
            *left_out += usize::from(converted.is_none());
            converted
        }
        let known = KnownFields {
            // The same 64 bits: a number above those of an i64 is what a Go program prints of a uint64.
            id: converted(fields.id, &mut left_out, |id| {
                i64::try_from(id).ok().or_else(|| u64::try_from(id).ok().map(u64::cast_signed))
            })
            .unwrap_or_default(),
            as_of: converted(fields.as_of, &mut left_out, |text| text.parse::<Timestamp>().ok()),
            key: converted(fields.key, &mut left_out, |text| key_of(&text)).unwrap_or_default(),
            disco: fields.disco.unwrap_or_default(),
            preferred_derp: converted(fields.preferred_derp, &mut left_out, |region| region.try_into().ok())
                .unwrap_or_default(),
            derp_latency: fields.derp_latency.unwrap_or_default(),
            derp_forced_websocket: fields
                .derp_forced_websocket
                .into_iter()
                .flatten()
                .filter_map(|(region, why)| {
                    converted(Some(region), &mut left_out, |region| region_of(&region)).map(|region| (region, why))
                })
                .collect(),
            addresses: fields.addresses.unwrap_or_default(),
            allowed_ips: fields.allowed_ips.unwrap_or_default(),
            endpoints: fields.endpoints.unwrap_or_default(),
        };
        Ok(Told { node: Self { known, unknown }, left_out })
    }
}

/// The unknown fields that came from protobuf. All others are left out.
fn unknown_of(fields: &NodeFields, left_out: &mut usize) -> Vec<u8> {
    let travelled = |value: &Value| {
        let bytes = BASE64_STANDARD.decode(value.as_str()?).ok()?;
        let node = Node::decode(bytes.as_slice()).ok()?;
        // A known field here would be another value of that field, which no rule has seen.
        (node.known == KnownFields::default() && node.unknown == bytes).then_some(bytes)
    };
    let mut unknown = Vec::new();
    for (name, value) in fields.unknown() {
        match travelled(value).filter(|_| name == UNKNOWN) {
            Some(bytes) => unknown = bytes,
            None => *left_out += 1,
        }
    }
    unknown
}

/// The bytes of a key, if its text is one that protobuf can say.
fn key_of(text: &str) -> Option<Vec<u8>> {
    let bytes = hex::decode(text.strip_prefix(KEY_TEXT)?).ok()?;
    (bytes.len() == 32).then(|| [KEY_BYTES, &bytes].concat())
}

/// The text of a key of 32 bytes.
fn text_of(bytes: &[u8]) -> String {
    let mut digits = [0; 64];
    hex::encode_to_slice(bytes, &mut digits).expect("two digits for each byte");
    KEY_TEXT.chars().chain(digits.map(char::from)).collect()
}

/// The number of a region. Other spellings of it, such as `+1`, would come back as another text.
fn region_of(text: &str) -> Option<i32> {
    text.parse::<i32>().ok().filter(|region| region.to_string() == text)
}

impl Message for Node {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        self.known.encode_raw(buf);
        buf.put_slice(&self.unknown);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        if tag <= LAST_KNOWN {
            self.known.merge_field(tag, wire_type, buf, ctx)
        } else {
            copy(tag, wire_type, buf, ctx, &mut self.unknown)
        }
    }

    fn encoded_len(&self) -> usize {
        self.known.encoded_len() + self.unknown.len()
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Copies a field. Groups, which no schema of today has, are not copied.
fn copy(
    tag: u32,
    wire_type: WireType,
    from: &mut impl Buf,
    ctx: DecodeContext,
    to: &mut Vec<u8>,
) -> Result<(), DecodeError> {
    match wire_type {
        WireType::Varint => {
            let mut value = 0;
            encoding::uint64::merge(wire_type, &mut value, from, ctx)?;
            encoding::uint64::encode(tag, &value, to);
        }
        WireType::SixtyFourBit => {
            let mut value = 0;
            encoding::fixed64::merge(wire_type, &mut value, from, ctx)?;
            encoding::fixed64::encode(tag, &value, to);
        }
        WireType::ThirtyTwoBit => {
            let mut value = 0;
            encoding::fixed32::merge(wire_type, &mut value, from, ctx)?;
            encoding::fixed32::encode(tag, &value, to);
        }
        WireType::LengthDelimited => {
            let mut value = Vec::new();
            encoding::bytes::merge(wire_type, &mut value, from, ctx)?;
            encoding::bytes::encode(tag, &value, to);
        }
        WireType::StartGroup | WireType::EndGroup => encoding::skip_field(wire_type, tag, from, ctx)?,
    }
    Ok(())
}
