//! What the peers announce, and which announcement a node is.

use std::fmt::Write as _;

use tailnet_wire::fields::own_addresses;
use uuid::Uuid;

/// What every node begins with; its version follows.
const BEGINNING: &str = r#"{"id":"#;

/// A node of the size of a real one, about 700 bytes. Nodes of different versions differ in what they say.
pub fn node(id: Uuid, version: u64) -> String {
    let [address, _] = own_addresses(id);
    let mut text = String::with_capacity(800);
    write!(
        text,
        r#"{BEGINNING}{version},"as_of":"2026-01-01T00:00:00Z","key":"nodekey:{version:064x}","disco":"discokey:{:064x}","preferred_derp":999,"derp_latency":{{"999-v4":0.0125,"998-v4":0.0431,"997-v6":0.0872}},"derp_forced_websocket":{{}},"addresses":["{address}/128"],"allowed_ips":["{address}/128"],"endpoints":["203.0.113.77:41641","192.168.1.23:41641","172.17.0.1:41641","[2001:db8:85a3::8a2e:370:7334]:41641"]}}"#,
        id.as_u128()
    )
    .expect("a String takes any text");
    text
}

/// The version of a node; None: nobody here made it.
pub fn version(node: &str) -> Option<u64> {
    node.strip_prefix(BEGINNING)?.split_once(',')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use tailnet_wire::{NodeFields, Role};

    use super::*;

    #[test]
    fn the_extension_takes_the_nodes_and_tells_versions_apart() {
        let id = Uuid::new_v4();
        let parse = |text: &str| NodeFields::parse(text).expect("a node");
        let (one, two) = (node(id, 1), node(id, u64::MAX));
        for role in [Role::Agent, Role::Client] {
            parse(&one).check(role, id).expect("it may be announced");
        }
        assert_ne!(parse(&one).digest(), parse(&two).digest());
        assert_eq!([version(&one), version(&two), version("{}")], [Some(1), Some(u64::MAX), None]);
    }
}
