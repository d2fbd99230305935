//! What has happened, for the properties only: no step depends on it.

use tailnet_model::{
    call::Call,
    event::{Node, Session},
    peers::{PEERS, Peer, peers},
    tables::Tables,
};

use crate::{flight::Flight, protocol::CLIENT, proxy::Proxy, socket::News};

/// What must never happen, and did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Violations {
    /// A session was told of an older node than before.
    pub backwards: bool,
    /// A superseded session's node was written.
    pub late: bool,
    /// LOST or DISCONNECTED was told of a healthy session.
    pub gone: bool,
    /// A session was told of a node of a peer with which it shared no tunnel.
    pub stranger: bool,
}

/// As little as the properties need, because every difference makes another state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct History {
    /// The newest session of each peer that was ever attached.
    attached: [u8; PEERS],
    /// The newest session of each peer whose goodbye was answered.
    goodbyes: [u8; PEERS],
    /// Of these peers the absence may be told.
    harmed: [bool; PEERS],
    /// The newest node of each agent that stood beside the tunnel to it.
    of_agent: [Option<Node>; PEERS],
    /// The newest node of the client that stood beside the tunnel to this agent.
    of_client: [Option<Node>; PEERS],
    pub violations: Violations,
}

impl History {
    /// A session ended, or was silent for so long that it looks as if it had.
    pub fn harm(&mut self, peer: Peer) {
        self.harmed[usize::from(peer)] = true;
    }

    /// The same for all sessions of a proxy.
    pub fn harm_all(&mut self, proxy: &Proxy) {
        proxy.sessions().iter().for_each(|id| self.harm(id.peer));
    }

    /// The tables are about to be emptied. Nobody can restore what no session has said.
    pub fn crash(&mut self, tables: &Tables, proxies: &[Proxy]) {
        for peer in peers() {
            let held = proxies.iter().filter_map(|proxy| Some((proxy, proxy.socket(peer)?)));
            // Who took over has what the tables have, until they are gone: it did not ask for it itself.
            let whole = held.max_by_key(|(_, socket)| socket.number).is_some_and(|(proxy, socket)| {
                let id = Session { peer, number: socket.number };
                socket.version > 0
                    && socket.number >= self.attached[usize::from(peer)]
                    && proxy.standing(id).contains_all(tables.tunnels.of(peer))
            });
            self.harmed[usize::from(peer)] |= !whole;
        }
    }

    /// A call was committed.
    pub fn commit(&mut self, before: &Tables, after: &Tables, flight: &Flight) {
        let Session { peer: id, number } = flight.session;
        let peer = usize::from(id);
        if matches!(flight.call, Call::Attach | Call::Restore { .. }) && after.is_current(flight.at, flight.session) {
            // What an earlier session had announced is not in the tables: it was not restored before it was superseded.
            let inherits = number == 1 || before.binding(id).is_some();
            let announces = matches!(flight.call, Call::Restore { node: Some(_), .. });
            self.harmed[peer] |= !announces && !inherits;
            self.attached[peer] = self.attached[peer].max(number);
        }
        if flight.call == Call::Disconnect && !flight.orphan {
            self.goodbyes[peer] = self.goodbyes[peer].max(number);
        }
        for agent in after.tunnels.partners(CLIENT) {
            let (of_agent, of_client) = (after.node(agent), after.node(CLIENT));
            let agent = usize::from(agent);
            self.of_agent[agent] = self.of_agent[agent].max(of_agent);
            self.of_client[agent] = self.of_client[agent].max(of_client);
        }
        let late = after.node(id).is_some_and(|node| node.session < self.attached[peer]);
        self.violations.late |= after.node(id) != before.node(id) && late;
    }

    /// Whether a newer session of the peer has said goodbye.
    pub fn is_over(&self, session: Session) -> bool {
        session.number < self.goodbyes[usize::from(session.peer)]
    }

    /// A session was told something.
    pub fn tell(&mut self, news: &News) {
        let (viewer, about) = (usize::from(news.viewer), usize::from(news.about));
        let shared = if news.about == CLIENT { self.of_client[viewer] } else { self.of_agent[about] };
        self.violations.backwards |= news.backwards;
        self.violations.stranger |= news.node > shared;
        self.violations.gone |= news.node.is_none() && !self.harmed[viewer] && !self.harmed[about];
    }
}
