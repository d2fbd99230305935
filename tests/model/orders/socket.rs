//! A websocket, as its peer sees it.

use tailnet_model::{
    event::{Binding, Node, Session},
    peers::{PEERS, Peer, Peers},
    wire,
};
use tailnet_proxy::message::Update;

/// A session that a proxy holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Socket {
    /// Only the newest session of a peer may write.
    pub number: u8,
    /// Its requests are read from then on.
    pub attached: bool,
    /// Of the last node that it announced; 0: none.
    pub version: u8,
    /// The tunnels that it asked for. It never closes one.
    pub wishes: Peers,
    /// What it was told last, by peer.
    pub known: [Option<Binding>; PEERS],
    /// The newest node that it was ever told of each peer: for the property only.
    highest: [Option<Node>; PEERS],
}

/// A session was told something.
#[derive(Debug, Clone, Copy)]
pub struct News {
    pub viewer: Peer,
    pub about: Peer,
    /// Older than what it was told before.
    pub backwards: bool,
    /// None: it is LOST or DISCONNECTED.
    pub node: Option<Node>,
}

impl Socket {
    /// It has just opened.
    pub fn new(number: u8) -> Self {
        let (known, highest) = ([None; PEERS], [None; PEERS]);
        Self { number, attached: false, version: 0, wishes: Peers::default(), known, highest }
    }

    /// The node that it announced last.
    pub fn node(&self) -> Node {
        Node { session: self.number, version: self.version }
    }

    /// The peer reads an update.
    pub fn hear(&mut self, session: Session, update: &Update) -> News {
        let (about, known) = wire::known(update);
        self.known[usize::from(about)] = known;
        let highest = &mut self.highest[usize::from(about)];
        let node = known.and_then(Binding::node);
        let backwards = node.is_some() && node < *highest;
        *highest = (*highest).max(node);
        News { viewer: session.peer, about, backwards, node }
    }
}
