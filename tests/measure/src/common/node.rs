//! The nodes that the peers announce: text that is made, and compared, without a JSON parser.

use std::fmt::Write as _;

use tailnet_wire::fields::own_addresses;
use uuid::Uuid;

/// The text before the version of a node.
const BEFORE_VERSION: &str = r#"{"id":"#;

/// What nodes of different benchmarks differ in: that makes their size.
#[derive(Debug)]
pub struct Shape {
    derp_latency: &'static str,
    endpoints: &'static str,
}

/// Of the peers on proxies.
pub const SMALL: Shape = Shape {
    derp_latency: r#""999-v4":0.0125,"999-v6":0.0131"#,
    endpoints: r#""192.0.2.17:41641","10.11.12.13:41641","[2001:db8::17]:41641""#,
};

/// Of those at the database: about 700 bytes.
pub const LARGE: Shape = Shape {
    derp_latency: r#""999-v4":0.0125,"998-v4":0.0431,"997-v6":0.0872"#,
    endpoints: r#""203.0.113.77:41641","192.168.1.23:41641","172.17.0.1:41641","[2001:db8:85a3::8a2e:370:7334]:41641""#,
};

impl Shape {
    /// Writes the node of a peer: of the size of a real one, and with another key for each version, so that versions differ
    /// in more than their time.
    pub fn write(&self, text: &mut String, id: Uuid, version: u64) {
        let Self { derp_latency, endpoints } = self;
        let ([address, _], number) = (own_addresses(id), id.as_u128());
        write!(
            text,
            r#"{BEFORE_VERSION}{version},"as_of":"2026-01-01T00:00:00Z","key":"nodekey:{version:064x}","disco":"discokey:{number:064x}","preferred_derp":999,"derp_latency":{{{derp_latency}}},"derp_forced_websocket":{{}},"addresses":["{address}/128"],"allowed_ips":["{address}/128"],"endpoints":[{endpoints}]}}"#
        )
        .expect("a String takes everything");
    }

    /// The same as a text of its own.
    pub fn text(&self, id: Uuid, version: u64) -> String {
        let mut text = String::with_capacity(800);
        self.write(&mut text, id, version);
        text
    }
}

/// The version that the text of a node claims to be. Whether it is such a node is for a comparison to say.
pub fn version(text: &[u8]) -> Option<u64> {
    let rest = text.strip_prefix(BEFORE_VERSION.as_bytes())?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit());
    digits.take(20).try_fold(0u64, |number, digit| number.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use tailnet_wire::{NodeFields, Role};

    use super::*;

    #[test]
    fn the_extension_takes_the_nodes_and_tells_versions_apart() {
        let id = Uuid::from_u128(0x1234_5678_9abc_4def_8123_4567_89ab_cdef);
        for shape in [SMALL, LARGE] {
            let [one, other] = [70_001, u64::MAX].map(|version| shape.text(id, version));
            assert_eq!([&one, &other].map(|text| version(text.as_bytes())), [Some(70_001), Some(u64::MAX)]);
            let [one, other] = [one, other].map(|text| NodeFields::parse(&text).expect("a node"));
            for role in [Role::Agent, Role::Client] {
                one.check(role, id).expect("it may be announced");
            }
            assert_ne!(one.digest(), other.digest());
        }
        assert_eq!([b"{\"id\":99999999999999999999}".as_slice(), b"[]", b"{}"].map(version), [None; 3]);
    }
}
