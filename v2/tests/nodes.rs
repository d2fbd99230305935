//! Nodes in protobuf, and to and from JSON.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use proptest::prelude::*;
use prost::Message as _;
use prost_types::Timestamp;
use tailnet_v2::node::{KnownFields, Node, UNKNOWN};

fn json(text: &str) -> tailnet_wire::Node {
    tailnet_wire::Node::new(text.to_owned()).expect("JSON")
}

fn of_json(text: &str) -> (Node, usize) {
    let told = Node::of_json(&json(text)).expect("a node");
    (told.node, told.left_out)
}

fn known(known: KnownFields) -> Node {
    Node { known, unknown: Vec::new() }
}

#[test]
fn defaults_are_left_out_and_keys_are_sorted() {
    assert_eq!(Node::default().to_json().expect("a node").as_str(), "{}");
    let node = known(KnownFields {
        id: -3,
        key: [b"np".as_slice(), &[0xab; 32]].concat(),
        preferred_derp: 7,
        derp_forced_websocket: BTreeMap::from([(-2, "why".to_owned())]),
        as_of: Some(Timestamp { seconds: 1_763_000_000, nanos: 123_456_000 }),
        addresses: vec!["fd7a::1/128".to_owned()],
        ..KnownFields::default()
    });
    let text = format!(
        r#"{{"addresses":["fd7a::1/128"],"as_of":"2025-11-13T02:13:20.123456Z","derp_forced_websocket":{{"-2":"why"}},"id":-3,"key":"nodekey:{}","preferred_derp":7}}"#,
        "ab".repeat(32)
    );
    assert_eq!(node.to_json().expect("a node").as_str(), text);
    assert_eq!(of_json(&text), (node, 0));
}

#[test]
fn what_json_cannot_say_is_refused() {
    for (node, problem) in [
        (KnownFields { key: b"np".to_vec(), ..Default::default() }, "key has 2 bytes"),
        (KnownFields { key: vec![7; 34], ..Default::default() }, "key has 34 bytes, expected \"np\""),
        (
            KnownFields { derp_latency: BTreeMap::from([("1-v4".to_owned(), f64::NAN)]), ..Default::default() },
            "derp_latency is NaN",
        ),
        (
            KnownFields { derp_latency: BTreeMap::from([("1-v4".to_owned(), f64::INFINITY)]), ..Default::default() },
            "derp_latency is inf",
        ),
        (
            KnownFields { as_of: Some(Timestamp { seconds: i64::MAX, nanos: 0 }), ..Default::default() },
            "as_of is not a time",
        ),
        (KnownFields { as_of: Some(Timestamp { seconds: 0, nanos: -1 }), ..Default::default() }, "as_of is not a time"),
    ] {
        let error = known(node).to_json().expect_err(problem).to_string();
        assert!(error.contains(problem), "{error}");
    }
    // Bad UTF-8 in disco.
    assert!(Node::decode(&[0x22, 1, 0xff][..]).is_err());
}

#[test]
fn what_protobuf_cannot_say_is_left_out_and_counted() {
    let (node, left_out) = of_json(
        r#"{"key":"any text","preferred_derp":5000000000,"derp_forced_websocket":{"one":"a","+1":"b","1":"c"},
            "as_of":"yesterday","colour":"red","disco":"discokey:x"}"#,
    );
    assert_eq!(left_out, 6);
    let expected = KnownFields {
        disco: "discokey:x".to_owned(),
        derp_forced_websocket: BTreeMap::from([(1, "c".to_owned())]),
        ..Default::default()
    };
    assert_eq!(node, known(expected));
}

#[test]
fn a_number_above_those_of_an_i64_has_the_same_bits() {
    assert_eq!(of_json(r#"{"id":18446744073709551615}"#).0.known.id, -1);
    assert_eq!(of_json(r#"{"id":-9223372036854775808}"#).0.known.id, i64::MIN);
}

#[test]
fn unknown_fields_travel_and_cannot_stand_for_known_ones() {
    // Field 15 a varint, 16 a text, 18 32 bits, 19 64 bits.
    let unknown =
        [&[0x78, 5][..], &[0x82, 1, 2, b'h', b'i'], &[0x95, 1, 1, 2, 3, 4], &[0x99, 1, 1, 2, 3, 4, 5, 6, 7, 8]]
            .concat();
    let bytes = [&[0x08, 9][..], &unknown].concat();
    let node = Node::decode(bytes.as_slice()).expect("a node");
    assert_eq!((node.known.id, &node.unknown), (9, &unknown));
    assert_eq!(node.encode_to_vec(), bytes);
    let text = node.to_json().expect("a node");
    assert_eq!(of_json(text.as_str()), (node, 0));
    // Field 17: a group with a field.
    let group = [0x8b, 1, 0x08, 1, 0x8c, 1];
    // Field 8 is addresses: no rule has seen this value.
    for smuggled in [&[0x42, 1, b'x'][..], &[0x78], &[0x08, 0], &group] {
        let text = format!(r#"{{"{UNKNOWN}":"{}"}}"#, BASE64_STANDARD.encode(smuggled));
        assert_eq!(of_json(&text), (Node::default(), 1), "{text}");
    }
    assert_eq!(of_json(&format!(r#"{{"{UNKNOWN}":7}}"#)), (Node::default(), 1));
    assert_eq!(Node::decode(group.as_slice()), Ok(Node::default()), "a group is not copied");
    let deep = [[0x8b, 1].repeat(1_000), [0x8c, 1].repeat(1_000)].concat();
    assert!(Node::decode(deep.as_slice()).is_err(), "groups in groups end");
}

prop_compose! {
    fn nodes()(
        id: i64,
        seconds in proptest::option::of((-62_135_596_800i64..=253_402_300_799, 0..1_000_000_000i32)),
        key in proptest::option::of(any::<[u8; 32]>()),
        disco in ".{0,20}",
        preferred_derp: i32,
        derp_latency in proptest::collection::btree_map(".{0,5}", -1e300..1e300f64, 0..4),
        derp_forced_websocket in proptest::collection::btree_map(any::<i32>(), ".{0,5}", 0..4),
        lists in proptest::array::uniform3(proptest::collection::vec(".{0,8}", 0..4)),
        unknown in proptest::collection::vec((11..300u32, any::<u32>()), 0..4),
    ) -> Node {
        let [addresses, allowed_ips, endpoints] = lists;
        let mut bytes = Vec::new();
        for (tag, value) in unknown {
            prost::encoding::uint32::encode(tag, &value, &mut bytes);
        }
        let known = KnownFields {
            id,
            as_of: seconds.map(|(seconds, nanos)| Timestamp { seconds, nanos }),
            key: key.map(|key| [b"np".as_slice(), &key].concat()).unwrap_or_default(),
            disco, preferred_derp, derp_latency, derp_forced_websocket, addresses, allowed_ips, endpoints,
        };
        Node { known, unknown: bytes }
    }
}

proptest! {
    #[test]
    fn b110_a_node_is_the_same_after_a_way_through_json(node in nodes()) {
        let bytes = node.encode_to_vec();
        prop_assert_eq!(bytes.len(), node.encoded_len());
        prop_assert_eq!(&Node::decode(bytes.as_slice()).expect("a node"), &node);
        let json = node.to_json().expect("it can be said in JSON");
        let told = Node::of_json(&json).expect("a node");
        prop_assert_eq!((told.node, told.left_out), (node, 0));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(node) = Node::decode(bytes.as_slice()) {
            let _ = node.to_json();
        }
    }
}
