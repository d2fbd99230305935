//! The frames of the websocket: docs/protocol.md, "Peers".

use std::{fmt, marker::PhantomData, sync::Arc};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::{Value, error::Category, value::RawValue};
use uuid::Uuid;

use crate::{close::Close, reporter::Event, told::Update};

/// The subprotocol of these frames.
pub const SUBPROTOCOL: &str = "tailnet.v1.json";

/// The largest message from a peer.
pub const MAX_MESSAGE: usize = 128 * 1024;

/// The most reports in one frame.
pub const MAX_REPORTS: usize = 1024;

/// A message from a peer. The fields are handled in this order.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frame {
    /// The peer announces its node.
    #[serde(default, deserialize_with = "object")]
    pub update_self: Option<UpdateSelf>,
    /// It opens a tunnel.
    #[serde(default, deserialize_with = "object")]
    pub add_tunnel: Option<Target>,
    /// It closes one.
    #[serde(default, deserialize_with = "object")]
    pub remove_tunnel: Option<Target>,
    /// It leaves for good.
    #[serde(default, deserialize_with = "object")]
    pub disconnect: Option<Disconnect>,
    /// It is ready for handshakes.
    #[serde(default)]
    pub ready_for_handshake: Vec<Object<Target>>,
    /// It reports connections to it.
    #[serde(default, deserialize_with = "reports")]
    pub report_connections: Vec<(Uuid, Event)>,
}

/// The node of a peer, kept as the text that it sent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateSelf {
    /// The node.
    pub node: Arc<RawValue>,
}

/// Another peer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Its peer id.
    pub id: Uuid,
}

/// Nothing more needs to be said.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disconnect {}

/// A message that ends the session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Fault {
    /// What was wrong, and what was expected.
    pub error: String,
    /// The close that follows.
    pub close: Close,
}

impl Frame {
    /// Parses a text message.
    ///
    /// # Errors
    /// When it is not JSON, or not of this form.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let error = match serde_json::from_str::<Object<Self>>(text) {
            Ok(Object(frame)) => return Ok(frame),
            Err(error) => error,
        };
        // The form is judged before the end is read: look whether the rest is JSON at all.
        let syntax = serde_json::from_str::<&RawValue>(text).err();
        Err(match syntax {
            Some(error) => Fault { error: format!("not JSON: {error}"), close: Close::NotJson },
            None if error.classify() == Category::Data => {
                Fault { error: format!("not a request: {error}"), close: Close::Policy }
            }
            None => Fault { error: format!("not a request that can be read: {error}"), close: Close::Policy },
        })
    }

    /// How many requests it makes.
    pub fn requests(&self) -> usize {
        usize::from(self.update_self.is_some())
            + usize::from(self.add_tunnel.is_some())
            + usize::from(self.remove_tunnel.is_some())
            + self.ready_for_handshake.len()
    }
}

impl Fault {
    /// A binary message.
    pub fn binary() -> Self {
        Self { error: "binary frame, expected a JSON text frame".to_owned(), close: Close::Binary }
    }

    /// A text message that is not UTF-8.
    pub fn not_utf8() -> Self {
        Self { error: "not JSON: the text frame is not UTF-8".to_owned(), close: Close::NotJson }
    }

    /// A message over [`MAX_MESSAGE`].
    pub fn too_large() -> Self {
        Self { error: format!("message too large, expected at most {MAX_MESSAGE} bytes"), close: Close::TooLarge }
    }
}

/// The text of a frame with updates.
pub fn updates(updates: &[Update]) -> String {
    #[derive(Serialize)]
    struct Updates<'a> {
        peer_updates: &'a [Update],
    }
    serde_json::to_string(&Updates { peer_updates: updates }).expect("updates have string keys only")
}

/// The text of a frame that acknowledges reports.
pub fn acknowledged(ids: &[Uuid]) -> String {
    #[derive(Serialize)]
    struct Acknowledged<'a> {
        acknowledged: &'a [Uuid],
    }
    serde_json::to_string(&Acknowledged { acknowledged: ids }).expect("ids have string keys only")
}

/// The text of an error frame.
pub fn error(error: &str) -> String {
    #[derive(Serialize)]
    struct Error<'a> {
        error: &'a str,
    }
    serde_json::to_string(&Error { error }).expect("an error has string keys only")
}

/// A field that, when it is there, is an object: not null, which serde would take for absent.
fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Object::deserialize(deserializer).map(|Object(value)| Some(value))
}

/// Reports: objects with an id. Who the agent is follows from its token, so a report does not say it.
fn reports<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(Uuid, Event)>, D::Error> {
    let events = Vec::<Event>::deserialize(deserializer)?;
    if events.len() > MAX_REPORTS {
        return Err(D::Error::custom(format_args!("{} reports, expected at most {MAX_REPORTS}", events.len())));
    }
    let reports = events.into_iter().map(|event| {
        if let Some(field) = ["agent_id", "agent_name"].into_iter().find(|field| event.contains_key(*field)) {
            return Err(D::Error::custom(format_args!("a report has a field `{field}`, expected none")));
        }
        let id = event.get("id").and_then(Value::as_str).and_then(|id| id.parse().ok());
        let id = id.ok_or_else(|| D::Error::custom("a report without an `id` that is a uuid"))?;
        Ok((id, event))
    });
    reports.collect()
}

/// A struct that is written as an object: not as an array of its fields, which serde would take too.
#[derive(Debug)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AsObject<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for AsObject<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer.deserialize_map(AsObject(PhantomData)).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::told::Kind;

    fn fault(text: &str) -> (Close, String) {
        let fault = Frame::parse(text).expect_err(text);
        (fault.close, fault.error)
    }

    #[test]
    fn a_node_is_kept_as_it_was_written() {
        let frame =
            Frame::parse(r#" {"update_self" : {"node": {"b":1e2, "a":"\u00e9",  "a":[ ]} } } "#).expect("a frame");
        let node = frame.update_self.expect("an update").node;
        assert_eq!(node.get(), r#"{"b":1e2, "a":"\u00e9",  "a":[ ]}"#);
        let updates = [Update::new(Uuid::nil(), Kind::Node, Some(node))];
        assert_eq!(
            super::updates(&updates),
            r#"{"peer_updates":[{"id":"00000000-0000-0000-0000-000000000000","kind":"NODE","node":{"b":1e2, "a":"\u00e9",  "a":[ ]}}]}"#
        );
    }

    #[test]
    fn a_frame_may_ask_for_several_things() {
        let id = "00000000-0000-0000-0000-000000000001";
        let text = format!(
            r#"{{"ready_for_handshake":[{{"id":"{id}"}},{{"id":"{id}"}}],"disconnect":{{}},"add_tunnel":{{"id":"{id}"}}}}"#
        );
        let frame = Frame::parse(&text).expect("a frame");
        assert!(frame.disconnect.is_some() && frame.add_tunnel.is_some() && frame.remove_tunnel.is_none());
        assert_eq!((frame.ready_for_handshake.len(), frame.requests()), (2, 3));
        assert_eq!(Frame::parse("{}").expect("a frame").requests(), 0);
    }

    #[test]
    fn b45_what_is_no_json_is_1007() {
        for text in ["", "{", "{]", "hello", r#"{"unknown":1} x"#, r#"{"unknown":nope}"#, "{\"update_self\":{\"node\":"]
        {
            let (close, error) = fault(text);
            assert_eq!(close, Close::NotJson, "{text}");
            assert!(error.starts_with("not JSON: "), "{error}");
        }
    }

    #[test]
    fn b45_what_has_the_wrong_form_is_1008_and_named() {
        for (text, named) in [
            ("[]", "expected an object"),
            ("null", "expected an object"),
            (r#"{"hello":{}}"#, "unknown field `hello`"),
            (r#"{"add_tunnel":{"id":"q"}}"#, "UUID"),
            (r#"{"add_tunnel":{"id":"00000000-0000-0000-0000-000000000001","x":1}}"#, "unknown field `x`"),
            (r#"{"add_tunnel":null}"#, "expected an object"),
            (r#"{"add_tunnel":["00000000-0000-0000-0000-000000000001"]}"#, "expected an object"),
            (r#"{"remove_tunnel":{}}"#, "missing field `id`"),
            (r#"{"update_self":{}}"#, "missing field `node`"),
            (r#"{"disconnect":true}"#, "expected an object"),
            (r#"{"disconnect":{},"disconnect":{}}"#, "duplicate field `disconnect`"),
            (r#"{"ready_for_handshake":{}}"#, "expected a sequence"),
            (r#"{"ready_for_handshake":[[]]}"#, "expected an object"),
        ] {
            let (close, error) = fault(text);
            assert_eq!(close, Close::Policy, "{text}");
            assert!(error.contains(named), "{error}");
        }
    }
}
