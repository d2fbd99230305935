//! A session that a proxy holds: its partners and what it was told of them. Follows `proxy/src/{local,told}.rs`.

use crate::{
    call::Agents,
    event::{Binding, CLIENT, Node, PEERS, Peer, peers},
};

/// What a peer knows of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Told {
    /// Nothing yet, or that it left.
    #[default]
    Nothing,
    /// Where it is.
    Node(Node),
    /// That it may come back.
    Lost,
}

/// What a session has with a partner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Relation {
    /// The log says so.
    pub tunnel: bool,
    /// The partner is absent, and the session does not know.
    pub withheld: bool,
    /// The last that it was told.
    pub told: Told,
    /// The newest node that it was ever told: for the property only.
    pub highest: Option<Node>,
}

/// A session that the proxy holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Local {
    /// Only the newest session of a peer may write.
    pub number: u8,
    /// Its requests are read from then on.
    pub attached: bool,
    /// Of the last node that it announced; 0: none.
    pub version: u8,
    /// The tunnels that it asked for. It never closes one.
    pub wishes: Agents,
    /// The pages have come up to this key.
    pub covered: Option<Peer>,
    /// By peer.
    pub relations: [Relation; PEERS],
}

/// A session was told something.
#[derive(Debug, Clone, Copy)]
pub struct News {
    /// Who.
    pub viewer: Peer,
    /// Of whom.
    pub about: Peer,
    /// Older than what it was told before.
    pub backwards: bool,
    /// None: it is LOST or DISCONNECTED.
    pub node: Option<Node>,
}

impl Local {
    /// A session that has just begun.
    pub fn new(number: u8) -> Self {
        let (version, wishes, covered) = (0, Agents::default(), None);
        Self { number, attached: false, version, wishes, covered, relations: Default::default() }
    }

    /// `Local::standing`: the tunnels of the log and those that it asked for.
    pub fn tunnels(&self) -> Agents {
        let mut tunnels = self.wishes;
        // Of an agent it is the client that opened it.
        for agent in peers().filter(|agent| *agent != CLIENT && self.relations[usize::from(*agent)].tunnel) {
            tunnels.insert(agent);
        }
        tunnels
    }

    /// Whether events about a partner count.
    pub fn covers(&self, other: Peer) -> bool {
        self.covered.is_some_and(|covered| other <= covered)
    }

    /// `Local::tell`: only what is news.
    pub fn tell(&mut self, viewer: Peer, about: Peer, binding: Option<Binding>, news: &mut Vec<News>) {
        let relation = &mut self.relations[usize::from(about)];
        relation.withheld = false;
        let told = match binding {
            None => Told::Nothing,
            Some(Binding::Ok(node)) => Told::Node(node),
            Some(Binding::Lost) if relation.told == Told::Nothing => Told::Nothing,
            Some(Binding::Lost) => Told::Lost,
        };
        if told == relation.told {
            return;
        }
        relation.told = told;
        let node = if let Told::Node(node) = told { Some(node) } else { None };
        let backwards = node.is_some() && node < relation.highest;
        relation.highest = relation.highest.max(node);
        news.push(News { viewer, about, node, backwards });
    }

    /// `Local::absent`: a crash may have emptied the tables, so absence waits for the log to settle.
    pub fn absent(&mut self, viewer: Peer, other: Peer, settled: bool, news: &mut Vec<News>) {
        self.withhold(other);
        if settled {
            self.tell(viewer, other, None, news);
        }
    }

    /// There is nothing to withhold from a session that was told nothing.
    pub fn withhold(&mut self, other: Peer) {
        let relation = &mut self.relations[usize::from(other)];
        relation.withheld |= relation.told != Told::Nothing;
    }
}
