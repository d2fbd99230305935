//! A DERP map in protobuf.

use tailnet_wire::derp_map::{DerpMap, HomeParams, Region, Relay};

use crate::messages::tailnet::{self, derp_map};

impl From<&DerpMap> for tailnet::DerpMap {
    fn from(map: &DerpMap) -> Self {
        Self {
            home_params: map.home_params.as_ref().map(Into::into),
            regions: map.regions.iter().map(|(id, region)| (*id, region.into())).collect(),
        }
    }
}

impl From<&HomeParams> for derp_map::HomeParams {
    fn from(params: &HomeParams) -> Self {
        Self { region_score: params.region_score.clone() }
    }
}

impl From<&Region> for derp_map::Region {
    fn from(region: &Region) -> Self {
        let Region { id, embedded_relay, code, name, avoid, nodes } = region;
        Self {
            region_id: *id,
            embedded_relay: *embedded_relay,
            region_code: code.clone(),
            region_name: name.clone(),
            avoid: *avoid,
            nodes: nodes.iter().map(Into::into).collect(),
        }
    }
}

impl From<&Relay> for derp_map::region::Node {
    fn from(relay: &Relay) -> Self {
        let relay = relay.clone();
        Self {
            name: relay.name,
            region_id: relay.region,
            host_name: relay.host,
            cert_name: relay.cert,
            ipv4: relay.ipv4,
            ipv6: relay.ipv6,
            stun_port: relay.stun_port,
            stun_only: relay.stun_only,
            derp_port: relay.derp_port,
            insecure_for_tests: relay.insecure_for_tests,
            force_http: relay.force_http,
            stun_test_ip: relay.stun_test_ip,
            can_port_80: relay.can_port80,
        }
    }
}
