//! A node that can be read as protobuf, and is good, comes back from JSON as it was.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tailnet_v2::node::Node;

fuzz_target!(|bytes: &[u8]| {
    let Ok(node) = <Node as prost::Message>::decode(bytes) else { return };
    let Ok(json) = node.to_json() else { return };
    let told = Node::of_json(&json).expect("what went to JSON comes back");
    assert_eq!(told.left_out, 0);
    let again = told.node.to_json().expect("it was good before");
    assert_eq!(json.as_str(), again.as_str());
});
