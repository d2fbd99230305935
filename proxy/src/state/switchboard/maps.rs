//! What a peer is told of the DERP map of its network.

use tokio::sync::oneshot;
use uuid::Uuid;

use super::Switchboard;
use crate::{
    batch::request::{QuerierRequest, Question, TokenHash},
    state::derp_maps::Maps,
};

impl Switchboard {
    /// The DERP map of a network, and its changes. Postgres is asked when it is not known.
    pub fn derp_map(&self, network: Uuid) -> Maps {
        let (maps, new) = self.derp_maps.watch(network);
        if new {
            self.ask_for_map(network);
        }
        maps
    }

    /// The log says that the map of a network may have changed; None: that of any network.
    pub(super) fn derp_map_changed(&self, network: Option<Uuid>) {
        let known = self.derp_maps.networks().into_iter();
        known.filter(|known| network.is_none_or(|network| network == *known)).for_each(|known| self.ask_for_map(known));
    }

    /// Asks whether the peer of a token may open a tunnel to an agent. The answer is dropped when Postgres gives none.
    pub fn may_dial(&self, hash: TokenHash, agent: Uuid) -> oneshot::Receiver<bool> {
        let (reply, answer) = oneshot::channel();
        self.querier.push(Question::Dial(self.number_question()), QuerierRequest::Dial { hash, agent, reply });
        answer
    }

    fn ask_for_map(&self, network: Uuid) {
        self.querier.push(Question::DerpMap(network), QuerierRequest::DerpMap);
    }
}
