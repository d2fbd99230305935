//! The DERP map of a network: the relays through which its peers meet, and find out their own addresses.
//!
//! The JSON is that of Tailscale's `tailcfg.DERPMap`, which programs of the field read. Fields that are not here are kept and
//! not looked at. A map that a client could not use is refused with the name of what is wrong.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, Ipv6Addr},
};

use serde::{Deserialize, Deserializer};

use crate::object::Object;

/// The largest map in bytes of text. That of Tailscale's own relays has 30 KiB.
pub const MAX_DERP_MAP_BYTES: usize = 256 * 1024;

/// The word for an address family that a relay does not have.
const NO_ADDRESS: &str = "none";

/// The relays of a network.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DerpMap {
    /// How a client chooses its region.
    #[serde(default)]
    pub home_params: Option<HomeParams>,
    /// The regions, by their ids.
    #[serde(deserialize_with = "regions")]
    pub regions: BTreeMap<i64, Region>,
}

/// How a client chooses its region.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HomeParams {
    /// Factors of the latency, by region: a smaller one makes a region nearer.
    #[serde(default)]
    pub region_score: BTreeMap<i64, f64>,
}

/// Relays that are near each other.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Region {
    /// Its id, above 0.
    #[serde(rename = "RegionID")]
    pub id: i64,
    /// The relay is part of a coordinator. Only Coder's programs know this field.
    #[serde(rename = "EmbeddedRelay", default)]
    pub embedded_relay: bool,
    /// A short name, such as `fra`.
    #[serde(rename = "RegionCode", default)]
    pub code: String,
    /// A name for people.
    #[serde(rename = "RegionName", default)]
    pub name: String,
    /// No client makes it its home.
    #[serde(rename = "Avoid", default)]
    pub avoid: bool,
    /// Its relays. The first one that works is used.
    #[serde(rename = "Nodes", default, deserialize_with = "relays")]
    pub nodes: Vec<Relay>,
}

/// One relay.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Relay {
    /// Its name, such as `1a`.
    #[serde(rename = "Name", default)]
    pub name: String,
    /// The id of its region.
    #[serde(rename = "RegionID")]
    pub region: i64,
    /// Where it is.
    #[serde(rename = "HostName", default)]
    pub host: String,
    /// The name in its certificate, if it is another one.
    #[serde(rename = "CertName", default)]
    pub cert: String,
    /// Its IPv4 address; empty: what the name resolves to; `none`: it has none.
    #[serde(rename = "IPv4", default)]
    pub ipv4: String,
    /// Its IPv6 address, likewise.
    #[serde(rename = "IPv6", default)]
    pub ipv6: String,
    /// The UDP port of STUN; 0: 3478; -1: it has none.
    #[serde(rename = "STUNPort", default)]
    pub stun_port: i32,
    /// It relays nothing.
    #[serde(rename = "STUNOnly", default)]
    pub stun_only: bool,
    /// The port of the relay; 0: 443.
    #[serde(rename = "DERPPort", default)]
    pub derp_port: i32,
    /// Its certificate is not verified.
    #[serde(rename = "InsecureForTests", default)]
    pub insecure_for_tests: bool,
    /// It speaks HTTP without TLS.
    #[serde(rename = "ForceHTTP", default)]
    pub force_http: bool,
    /// For tests of clients.
    #[serde(rename = "STUNTestIP", default)]
    pub stun_test_ip: String,
    /// Its port 80 is reachable.
    #[serde(rename = "CanPort80", default)]
    pub can_port80: bool,
}

/// What is wrong with a DERP map.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DerpMapError {
    /// More than [`MAX_DERP_MAP_BYTES`].
    #[error("the DERP map has {0} bytes, expected at most {MAX_DERP_MAP_BYTES}")]
    TooLarge(usize),
    /// Not the JSON of a map: what the parser says.
    #[error("the DERP map cannot be read: {0}")]
    Form(String),
    /// Without a region no client has a tunnel.
    #[error("the DERP map has no regions, expected at least one")]
    Empty,
    /// What is wrong with a region.
    #[error("region {region} of the DERP map {problem}")]
    Region {
        /// Its key.
        region: i64,
        /// What is wrong, and what was expected.
        problem: String,
    },
}

impl DerpMap {
    /// Parses and checks the text of a map.
    ///
    /// # Errors
    /// When a client could not use it.
    pub fn parse(text: &str) -> Result<Self, DerpMapError> {
        if text.len() > MAX_DERP_MAP_BYTES {
            return Err(DerpMapError::TooLarge(text.len()));
        }
        let Object(map): Object<Self> =
            serde_json::from_str(text).map_err(|error| DerpMapError::Form(error.to_string()))?;
        if map.regions.is_empty() {
            return Err(DerpMapError::Empty);
        }
        for (&region, entry) in &map.regions {
            entry.check(region).map_err(|problem| DerpMapError::Region { region, problem })?;
        }
        Ok(map)
    }
}

/// An array in the place of an object would be read here, and by no client.
fn regions<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<i64, Region>, D::Error> {
    let regions = BTreeMap::<i64, Object<Region>>::deserialize(deserializer)?;
    Ok(regions.into_iter().map(|(id, Object(region))| (id, region)).collect())
}

fn relays<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Relay>, D::Error> {
    Ok(Vec::<Object<Relay>>::deserialize(deserializer)?.into_iter().map(|Object(relay)| relay).collect())
}

impl Region {
    fn check(&self, key: i64) -> Result<(), String> {
        if self.id != key {
            return Err(format!("has RegionID {}, expected {key}", self.id));
        }
        // A node says its region in 32 bits.
        if !(1..=i64::from(i32::MAX)).contains(&key) {
            return Err(format!("has an id that is not from 1 to {}", i32::MAX));
        }
        if self.nodes.iter().all(|relay| relay.stun_only) {
            return Err("has no relay, expected at least one in Nodes that is not STUNOnly".to_owned());
        }
        let mut names = BTreeSet::new();
        for relay in &self.nodes {
            relay.check(key).map_err(|problem| format!("has a relay {:?} that {problem}", relay.name))?;
            if !names.insert(&relay.name) {
                return Err(format!("has two relays with the name {:?}", relay.name));
            }
        }
        Ok(())
    }
}

impl Relay {
    fn check(&self, region: i64) -> Result<(), String> {
        if self.name.is_empty() {
            return Err("has no Name".to_owned());
        }
        if self.region != region {
            return Err(format!("has RegionID {}, expected {region}", self.region));
        }
        let host_is_good = |host: &str| {
            !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':'))
        };
        if !host_is_good(&self.host) {
            return Err(format!("has HostName {:?}, expected a host name", self.host));
        }
        for (field, address, is_good) in [
            ("IPv4", &self.ipv4, self.ipv4.parse::<Ipv4Addr>().is_ok()),
            ("IPv6", &self.ipv6, self.ipv6.parse::<Ipv6Addr>().is_ok()),
        ] {
            if !is_good && !address.is_empty() && address != NO_ADDRESS {
                return Err(format!("has {field} {address:?}, expected an address, nothing, or {NO_ADDRESS:?}"));
            }
        }
        for (field, port, least) in [("DERPPort", self.derp_port, 0), ("STUNPort", self.stun_port, -1)] {
            if !(least..=i32::from(u16::MAX)).contains(&port) {
                return Err(format!("has {field} {port}, expected {least} to {}", u16::MAX));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(region: &str, fields: &str, relay: &str) -> String {
        format!(
            r#"{{"Regions":{{"{region}":{{"RegionID":1{fields},"Nodes":[{{"Name":"1a","RegionID":1,"HostName":"derp.example.com"{relay}}}]}}}}}}"#
        )
    }

    #[test]
    fn a_small_map_is_good_and_unknown_fields_do_not_matter() {
        let map =
            DerpMap::parse(&with("1", r#","RegionCode":"one","Latitude":3"#, r#","DERPPort":8443,"IPv6":"none""#));
        let map = map.expect("a good map");
        assert_eq!((map.regions[&1].code.as_str(), map.regions[&1].nodes[0].derp_port), ("one", 8443));
    }

    #[test]
    fn what_a_client_could_not_use_is_named() {
        for (text, named) in [
            ("[]".to_owned(), "cannot be read: invalid type: sequence, expected an object"),
            (r#"{"Regions":{"1":[1]}}"#.to_owned(), "expected an object"),
            ("{}".to_owned(), "missing field `Regions`"),
            (r#"{"Regions":{}}"#.to_owned(), "has no regions"),
            (r#"{"Regions":{"one":{}}}"#.to_owned(), "cannot be read"),
            (with("2", "", ""), "region 2 of the DERP map has RegionID 1, expected 2"),
            (r#"{"Regions":{"0":{"RegionID":0}}}"#.to_owned(), "region 0 of the DERP map has an id that is not from 1"),
            (r#"{"Regions":{"1":{"RegionID":1}}}"#.to_owned(), "has no relay"),
            (with("1", "", r#","STUNOnly":true"#), "has no relay, expected at least one in Nodes that is not STUNOnly"),
            (with("1", "", r#","DERPPort":65536"#), r#"a relay "1a" that has DERPPort 65536, expected 0 to 65535"#),
            (with("1", "", r#","STUNPort":-2"#), "has STUNPort -2, expected -1 to 65535"),
            (with("1", "", r#","IPv4":"::1""#), r#"has IPv4 "::1", expected an address, nothing, or "none""#),
            (with("1", "", "").replace("derp.example.com", "https://derp"), "expected a host name"),
            (with("1", "", "").replace("\"1a\"", "\"\""), "has no Name"),
            (format!("\"{}\"", "x".repeat(MAX_DERP_MAP_BYTES)), "expected at most 262144"),
        ] {
            let error = DerpMap::parse(&text).expect_err(named).to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
