//! The bytes that a real client and a real server exchanged: tests/recordings/README.md.

use std::{collections::BTreeMap, path::Path};

use prost::Message as _;
use serde_json::Value;
use tailnet_v2::{
    calls::{Calls, Event},
    drpc::{Kind, Reader},
    messages::{
        path,
        tailnet::{CoordinateRequest, CoordinateResponse, DerpMap, RefreshResumeTokenResponse, coordinate_response},
    },
    node::Node,
    yamux::{self, Session, Side},
};

/// The messages of one side of a recording, in their order.
fn messages(file: &str, from: &str) -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings").join(file);
    let text = std::fs::read_to_string(path).expect("a recording");
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let messages = lines
        .filter(|line| line["from"] == from)
        .filter_map(|line| line["message"].as_str().map(|message| hex::decode(message).expect("hexadecimal")));
    messages.collect()
}

/// What the calls of a client mean to the answering side.
fn calls(file: &str) -> Vec<Event> {
    let (mut calls, mut events) = (Calls::default(), Vec::new());
    for message in messages(file, "client") {
        calls.receive(&message, &mut events).expect("a real client breaks no rule");
    }
    events
}

/// The packets of the server, by stream.
fn packets(file: &str) -> BTreeMap<u32, Vec<(Kind, Vec<u8>)>> {
    let mut session = Session::new(Side::Client, 0);
    let mut readers = BTreeMap::new();
    for _ in 0..8 {
        readers.insert(session.open(), Reader::new(4 << 20));
    }
    let mut packets = BTreeMap::<_, Vec<_>>::new();
    for message in messages(file, "server") {
        let mut input = message.as_slice();
        while let Some(event) = session.receive(&mut input).expect("a real server breaks no rule") {
            let yamux::Event::Data(stream, mut bytes) = event else { continue };
            let reader = readers.get_mut(&stream).expect("a stream of the client");
            while let Some(packet) = reader.receive(&mut bytes).expect("a real server breaks no rule") {
                packets.entry(stream).or_default().push((packet.kind, packet.data));
            }
        }
    }
    packets
}

fn requests(events: &[Event], call: u32) -> Vec<CoordinateRequest> {
    let requests = events.iter().filter_map(|event| match event {
        Event::Message(stream, message) if *stream == call => {
            Some(CoordinateRequest::decode(message.as_slice()).expect("a request"))
        }
        _ => None,
    });
    requests.collect()
}

#[test]
fn a_client_calls_what_the_notes_say() {
    let events = calls("client.jsonl");
    let invoked: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Invoked(stream, path) => Some((*stream, path.as_str())),
            _ => None,
        })
        .collect();
    assert_eq!(
        invoked,
        [
            (3, path::STREAM_DERP_MAPS),
            (5, path::REFRESH_RESUME_TOKEN),
            (1, path::COORDINATE),
            (7, path::POST_TELEMETRY)
        ]
    );
    let requests = requests(&events, 1);
    let node = requests[0].update_self.as_ref().and_then(|update| update.node.as_ref()).expect("a node");
    assert_eq!(node.known.key.len(), 34);
    assert_eq!(node.known.derp_latency["1-v4"], 0.0125);
    assert!(node.unknown.is_empty());
    assert_eq!(requests[1].add_tunnel.as_ref().expect("a tunnel").id.len(), 16);
    assert!(requests.iter().any(|request| request.disconnect.is_some()));
}

#[test]
fn a_server_answers_what_the_notes_say() {
    let packets = packets("client.jsonl");
    let (Kind::Message, map) = &packets[&3][0] else { panic!("a map comes first") };
    let map = DerpMap::decode(map.as_slice()).expect("a map");
    assert_eq!(map.regions[&1].region_code, "one");
    assert_eq!(map.regions[&1].nodes[0].stun_port, -1);
    let kinds: Vec<_> = packets[&5].iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [Kind::Message, Kind::CloseSend]);
    let token = RefreshResumeTokenResponse::decode(packets[&5][0].1.as_slice()).expect("a token");
    assert_eq!((token.token.len(), token.refresh_in.map(|time| time.seconds)), (252, Some(1800)));
    let kinds: Vec<_> = packets[&1]
        .iter()
        .filter(|(kind, _)| *kind == Kind::Message)
        .flat_map(|(_, data)| CoordinateResponse::decode(data.as_slice()).expect("a response").peer_updates)
        .map(|update| update.kind())
        .collect();
    use coordinate_response::peer_update::Kind as Update;
    assert_eq!(kinds[..2], [Update::Node, Update::ReadyForHandshake]);
}

#[test]
fn recorded_nodes_are_the_same_after_a_way_through_json() {
    for file in ["client.jsonl", "agent.jsonl", "bad-address.jsonl", "idle.jsonl"] {
        for event in calls(file) {
            let Event::Message(1, message) = event else { continue };
            let request = CoordinateRequest::decode(message.as_slice()).expect("a request");
            let Some(node) = request.update_self.and_then(|update| update.node) else { continue };
            let json = node.to_json().expect("it can be said in JSON");
            let told = Node::of_json(&json).expect("it is a node");
            assert_eq!((told.node, told.left_out), (node, 0), "{}", json.as_str());
        }
    }
}

#[test]
fn an_unknown_rpc_fails_with_code_12() {
    let packets = packets("unknown-rpc.jsonl");
    let [(Kind::Error, theirs)] = packets[&1].as_slice() else { panic!("{packets:?}") };
    assert!(String::from_utf8_lossy(theirs).contains("unknown rpc"));
    let [.., Event::Invoked(1, path), Event::Message(..), Event::Sent(1), Event::Ended(1)] =
        &calls("unknown-rpc.jsonl")[..]
    else {
        panic!("a whole call")
    };
    assert_eq!(path, "/coder.tailnet.v2.Tailnet/NoSuchMethod");
}

#[test]
fn refusals_come_as_an_error_in_a_response_and_an_end() {
    for (file, text) in [
        ("refused-tunnel.jsonl", "authorization: invalid agent id, expected "),
        ("bad-address.jsonl", "authorization: invalid node address"),
    ] {
        let packets = packets(file);
        let [.., (Kind::Message, response), (Kind::Close, _)] = packets[&1].as_slice() else { panic!("{packets:?}") };
        let error = CoordinateResponse::decode(response.as_slice()).expect("a response").error;
        assert!(error.starts_with(text), "{error}");
    }
    let packets = packets("refused-handshake.jsonl");
    let first = CoordinateResponse::decode(packets[&1][0].1.as_slice()).expect("a response");
    assert!(first.error.starts_with("ready for handshake error: you do not share a tunnel with "), "{}", first.error);
}

#[test]
fn an_idle_connection_is_pings_only() {
    let events = calls("idle.jsonl");
    let pings = events.iter().filter(|event| **event == Event::Ping).count();
    assert!(pings >= 4, "{events:?}");
}
