//! What peers that speak v2 were told: every node is compared with the one that its peer announced.

use tailnet_v2::messages::tailnet::{
    CoordinateResponse,
    coordinate_response::{PeerUpdate, peer_update::Kind},
};

use super::{Views, partner};
use crate::peers::{clock::Moment, load::calls::Nodes};

impl Views {
    /// A peer was told this.
    pub fn hear_response(&mut self, place: usize, response: CoordinateResponse, nodes: &mut Nodes, now: Moment) {
        if !response.error.is_empty() {
            self.wrong(place, &response.error);
        }
        for update in response.peer_updates {
            self.hear_update(place, update, nodes, now);
        }
    }

    fn hear_update(&mut self, place: usize, update: PeerUpdate, nodes: &mut Nodes, now: Moment) {
        let partner = self.seats[partner(place)].id;
        match (update.kind(), &update.node) {
            _ if update.id != partner.as_bytes() => self.wrong(place, &format!("of a stranger: {update:?}")),
            (Kind::Node, Some(node)) => {
                let version = node.known.id.cast_unsigned();
                if node == nodes.node(partner, version) {
                    self.told(place, version, now);
                } else {
                    self.wrong(place, &format!("a node that its partner never announced: {node:?}"));
                }
            }
            (Kind::Lost, None) => self.totals.lost += 1,
            (Kind::Disconnected, None) => self.totals.disconnected += 1,
            _ => self.wrong(place, &format!("{update:?}")),
        }
    }
}
