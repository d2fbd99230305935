//! A websocket, as its peer sees it.

use tailnet_model::{
    event::{Node, Session},
    peers::{PEERS, Peer, Peers},
    wire,
};
use tailnet_proxy::message::{Change, Update};

/// What a peer knows of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Known {
    /// Nothing yet, or that it left.
    #[default]
    Nothing,
    /// Where it is.
    Node(Node),
    /// That it may come back.
    Lost,
}

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
    pub known: [Known; PEERS],
    /// The newest node that it was ever told of each peer: for the property only.
    highest: [Option<Node>; PEERS],
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

impl Socket {
    /// It has just opened.
    pub fn new(number: u8) -> Self {
        let (known, highest) = ([Known::Nothing; PEERS], [None; PEERS]);
        Self { number, attached: false, version: 0, wishes: Peers::default(), known, highest }
    }

    /// The node that it announced last.
    pub fn node(&self) -> Node {
        Node { session: self.number, version: self.version }
    }

    /// The peer reads an update.
    pub fn hear(&mut self, session: Session, update: &Update) -> News {
        let about = wire::peer(update.id);
        let known = match &update.change {
            Change::Node(text) => Known::Node(wire::node(text)),
            Change::Lost => Known::Lost,
            Change::Disconnected => Known::Nothing,
            Change::ReadyForHandshake => unreachable!("no handshakes here"),
        };
        self.known[usize::from(about)] = known;
        let highest = &mut self.highest[usize::from(about)];
        let node = if let Known::Node(node) = known { Some(node) } else { None };
        let backwards = node.is_some() && node < *highest;
        *highest = (*highest).max(node);
        News { viewer: session.peer, about, backwards, node }
    }
}
