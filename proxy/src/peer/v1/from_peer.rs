//! The frames that a peer sends: docs/protocol.md, "From the peer".

use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::{Map, Value, error::Category, value::RawValue};
use tailnet_wire::{ConnectionEvent, Node, Object};
use uuid::Uuid;

use crate::message::{Ask, Malformed, MalformedKind, Report, Wish, ask::MAX_REPORTS};

/// The largest message of a peer, in bytes.
pub const MAX_MESSAGE: usize = 128 * 1024;

/// A message of a peer. An error that lists the fields lists them in this order.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Frame {
    #[serde(default, deserialize_with = "object")]
    update_self: Option<UpdateSelf>,
    #[serde(default, deserialize_with = "object")]
    add_tunnel: Option<Target>,
    #[serde(default, deserialize_with = "object")]
    remove_tunnel: Option<Target>,
    #[serde(default, deserialize_with = "object")]
    disconnect: Option<Nothing>,
    #[serde(default)]
    ready_for_handshake: Vec<Object<Target>>,
    #[serde(default, deserialize_with = "reports")]
    report_connections: Vec<RawReport>,
    #[serde(default, deserialize_with = "object")]
    derp_map: Option<Nothing>,
}

/// What a message asks.
#[derive(Debug)]
pub struct Request {
    /// It asks for the DERP map, and for its changes.
    pub derp_map: bool,
    /// The rest, in the order in which that is done.
    pub asks: Vec<Ask>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct UpdateSelf {
    node: Node,
}

/// Another peer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Target {
    id: Uuid,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// A report as it came: its id, and the fields of its event.
type RawReport = (Uuid, Map<String, Value>);

/// Reads a text message of `peer`.
///
/// # Errors
/// When it is not JSON, or not a request.
pub fn parse(text: &str, peer: Uuid) -> Result<Request, Malformed> {
    let error = match serde_json::from_str::<Object<Frame>>(text) {
        Ok(Object(frame)) => {
            return Ok(Request { derp_map: frame.derp_map.is_some(), asks: frame.asks(peer) });
        }
        Err(error) => error,
    };
    // The parser stops at the first wrong field. Look whether the rest is JSON at all.
    let syntax = serde_json::from_str::<&RawValue>(text).err();
    Err(match syntax {
        Some(error) => malformed(MalformedKind::Syntax, format!("not JSON: {error}")),
        None if error.classify() == Category::Data => malformed(MalformedKind::Form, format!("not a request: {error}")),
        None => malformed(MalformedKind::Form, format!("not a request that can be read: {error}")),
    })
}

/// What a binary message gets.
pub fn binary() -> Malformed {
    malformed(MalformedKind::Framing, "binary frame, expected a JSON text frame".to_owned())
}

/// What a text message gets that is not UTF-8.
pub fn not_utf8() -> Malformed {
    malformed(MalformedKind::Syntax, "not JSON: the text frame is not UTF-8".to_owned())
}

/// What a message over [`MAX_MESSAGE`] gets.
pub fn too_large() -> Malformed {
    malformed(MalformedKind::TooLarge, format!("message too large, expected at most {MAX_MESSAGE} bytes"))
}

fn malformed(kind: MalformedKind, problem: String) -> Malformed {
    Malformed { kind, problem }
}

impl Frame {
    /// What it asks, in the order in which that is done.
    fn asks(self, peer: Uuid) -> Vec<Ask> {
        let mut asks = Vec::new();
        if !self.report_connections.is_empty() {
            let reports = self.report_connections.into_iter();
            let report = |(id, fields)| Report { id, event: event(peer, fields), awaited: false };
            asks.push(Ask::Report(reports.map(report).collect()));
        }
        asks.extend(self.update_self.map(|update| Ask::Announce(update.node)));
        asks.extend(self.add_tunnel.map(|target| Ask::Tunnel { dst: target.id, wish: Wish::Open }));
        asks.extend(self.remove_tunnel.map(|target| Ask::Tunnel { dst: target.id, wish: Wish::Close }));
        asks.extend(self.disconnect.map(|_| Ask::Goodbye));
        if !self.ready_for_handshake.is_empty() {
            asks.push(Ask::Ready(self.ready_for_handshake.into_iter().map(|Object(target)| target.id).collect()));
        }
        asks
    }
}

/// A field that, when it is there, is an object: not null, which serde would take for absent.
fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Object::deserialize(deserializer).map(|Object(value)| Some(value))
}

/// Reports: objects with an id. The token says which agent reports, so a report does not.
fn reports<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<RawReport>, D::Error> {
    let reports = Vec::<Map<String, Value>>::deserialize(deserializer)?;
    if reports.len() > MAX_REPORTS {
        return Err(D::Error::custom(format_args!("{} reports, expected at most {MAX_REPORTS}", reports.len())));
    }
    let reports = reports.into_iter().map(|fields| {
        if let Some(field) = ["agent_id", "agent_name"].into_iter().find(|field| fields.contains_key(*field)) {
            return Err(D::Error::custom(format_args!("a report has a field `{field}`, expected none")));
        }
        let id = fields.get("id").and_then(Value::as_str).and_then(|id| id.parse().ok());
        let id = id.ok_or_else(|| D::Error::custom("a report without an `id` that is a uuid"))?;
        Ok((id, fields))
    });
    reports.collect()
}

/// The event of a report, or what is wrong with it, as the extension would say it. Its times and its address are left to
/// Postgres.
fn event(agent: Uuid, mut fields: Map<String, Value>) -> Result<ConnectionEvent, String> {
    fields.insert("agent_id".to_owned(), agent.to_string().into());
    let event = ConnectionEvent::deserialize(&fields).map_err(|error| {
        // The parser of a text says where in it the error is.
        let text = serde_json::to_string(&[&fields]).expect("its keys are strings");
        let placed = serde_json::from_str::<[ConnectionEvent; 1]>(&text).err().unwrap_or(error);
        format!("events are malformed: event 1: {placed}")
    })?;
    event.check().map_err(|error| format!("event 1 {error}"))?;
    Ok(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: Uuid = Uuid::from_u128(9);

    fn asks(text: &str) -> Vec<Ask> {
        parse(text, PEER).expect("a frame").asks
    }

    fn wrong(text: &str) -> (MalformedKind, String) {
        let Malformed { kind, problem } = parse(text, PEER).expect_err(text);
        (kind, problem)
    }

    #[test]
    fn a_node_is_kept_as_it_was_written() {
        let asks = asks(r#" {"update_self" : {"node": {"b":1e2, "a":"\u00e9",  "a":[ ]} } } "#);
        let [Ask::Announce(node)] = asks.as_slice() else { panic!("{asks:?}") };
        assert_eq!(node.as_str(), r#"{"b":1e2, "a":"\u00e9",  "a":[ ]}"#);
    }

    #[test]
    fn a_frame_may_ask_for_several_things_in_any_order_of_its_fields() {
        let id = "00000000-0000-0000-0000-000000000001";
        let text = format!(
            r#"{{"ready_for_handshake":[{{"id":"{id}"}},{{"id":"{id}"}}],"disconnect":{{}},"add_tunnel":{{"id":"{id}"}}}}"#
        );
        let several = asks(&text);
        assert!(
            matches!(several.as_slice(), [Ask::Tunnel { wish: Wish::Open, .. }, Ask::Goodbye, Ask::Ready(dsts)] if dsts.len() == 2),
            "{several:?}"
        );
        assert_eq!(several.iter().map(Ask::requests).sum::<usize>(), 3);
        assert!(asks("{}").is_empty());
        for (text, derp_map) in [("{}", false), (r#"{"derp_map":{}}"#, true)] {
            assert_eq!(parse(text, PEER).expect("a frame").derp_map, derp_map);
        }
    }

    fn reports_of(asks: &[Ask]) -> &[Report] {
        let [Ask::Report(reports)] = asks else { panic!("{asks:?}") };
        reports
    }

    #[test]
    fn a_report_gets_the_id_of_its_agent_and_a_wrong_one_is_named() {
        let id = "00000000-0000-0000-0000-000000000001";
        let frame = |fields: &str| format!(r#"{{"report_connections":[{{"id":"{id}","type":"ssh"{fields}}}]}}"#);
        let asks = asks(&frame(r#","connect_time":"2026-01-01""#));
        let [report] = reports_of(&asks) else { panic!("{asks:?}") };
        assert_eq!(report.id.to_string(), id);
        assert_eq!(report.event.as_ref().map(|event| event.agent_id), Ok(PEER));
        for (fields, named) in [
            ("", "event 1 has neither connect_time nor disconnect_time"),
            (r#","connect_time":"2026-01-01","colour":"red""#, "events are malformed: event 1: unknown field `colour`"),
            (r#","connect_time":7"#, "invalid type: integer `7`, expected a string at line 1 column 68"),
            (r#","connect_time":"2026-01-01","owner":"a\u0000b""#, "event 1 has the character U+0000 in owner"),
        ] {
            let asks = super::parse(&frame(fields), PEER).expect("a frame").asks;
            let [Report { event: Err(problem), .. }] = reports_of(&asks) else { panic!("{asks:?}") };
            assert!(problem.contains(named), "{problem}");
        }
        let (kind, problem) = wrong(&frame(r#","agent_name":"a""#));
        assert_eq!(kind, MalformedKind::Form);
        assert!(problem.contains("a report has a field `agent_name`, expected none"), "{problem}");
    }

    #[test]
    fn b45_text_that_is_not_json_breaks_the_syntax() {
        for text in ["", "{", "{]", "hello", r#"{"unknown":1} x"#, r#"{"unknown":nope}"#, "{\"update_self\":{\"node\":"]
        {
            let (kind, error) = wrong(text);
            assert_eq!(kind, MalformedKind::Syntax, "{text}");
            assert!(error.starts_with("not JSON: "), "{error}");
        }
    }

    #[test]
    fn b45_a_wrong_form_is_named() {
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
            (r#"{"derp_map":{"version":1}}"#, "unknown field `version`"),
            (r#"{"disconnect":{},"disconnect":{}}"#, "duplicate field `disconnect`"),
            (r#"{"ready_for_handshake":{}}"#, "expected a sequence"),
            (r#"{"ready_for_handshake":[[]]}"#, "expected an object"),
        ] {
            let (kind, error) = wrong(text);
            assert_eq!(kind, MalformedKind::Form, "{text}");
            assert!(error.contains(named), "{error}");
        }
    }
}
