//! The nodes that the peers announce: text that is made, and compared, without a JSON parser.

use std::{fmt::Write as _, net::Ipv6Addr};

use tailnet_wire::fields::own_addresses;
use uuid::Uuid;

/// The text before the version of a node.
const BEFORE_VERSION: &str = r#"{"id":"#;

/// Writes the node of a peer: of the size of a real one, and with another key for each version, so that versions differ
/// in more than their time.
pub fn write(text: &mut String, id: Uuid, version: u32) {
    let address: Ipv6Addr = own_addresses(id)[0];
    let number = id.as_u128();
    write!(
        text,
        r#"{BEFORE_VERSION}{version},"as_of":"2026-01-01T00:00:00Z","key":"nodekey:{version:064x}","disco":"discokey:{number:064x}","#
    )
    .and_then(|()| {
        write!(
            text,
            r#""preferred_derp":999,"derp_latency":{{"999-v4":0.0125,"999-v6":0.0131}},"derp_forced_websocket":{{}},"addresses":["{address}/128"],"allowed_ips":["{address}/128"],"#
        )
    })
    .and_then(|()| text.write_str(r#""endpoints":["192.0.2.17:41641","10.11.12.13:41641","[2001:db8::17]:41641"]}"#))
    .expect("a String takes everything");
}

/// The version that the text of a node claims to be. Whether it is such a node is for a comparison to say.
pub fn version(text: &[u8]) -> Option<u32> {
    let rest = text.strip_prefix(BEFORE_VERSION.as_bytes())?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit());
    digits.take(10).try_fold(0u32, |number, digit| number.checked_mul(10)?.checked_add(u32::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use tailnet_wire::{NodeFields, Role};

    use super::*;

    #[test]
    fn an_agent_may_announce_it_and_versions_are_read_back() {
        let id = Uuid::from_u128(0x1234_5678_9abc_4def_8123_4567_89ab_cdef);
        let mut text = String::new();
        write(&mut text, id, 70_001);
        let node = NodeFields::parse(&text).expect("a node");
        node.check(Role::Agent, id).expect("an agent may announce it");
        assert_eq!(version(text.as_bytes()), Some(70_001));
        assert_eq!(version(b"{\"id\":99999999999}"), None);
        assert_eq!(version(b"[]"), None);
        let mut other = String::new();
        write(&mut other, id, 70_002);
        assert_ne!(NodeFields::parse(&other).expect("a node").digest(), node.digest());
    }
}
