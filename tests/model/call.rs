//! Calls of a proxy, from the time they are sent until they are committed or nobody can commit them any more.

use crate::{
    event::{Peer, Session},
    tables::Tables,
};

/// One function of the extension, with what the proxy read when it sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    /// `attach_peers`.
    Attach,
    /// `bind_peers` with the latest node.
    Bind { version: u8 },
    /// `restore_peers` with the latest node (0: none) and the tunnels.
    Restore { version: u8, tunnels: Agents },
    /// `lose_peers`.
    Lose,
    /// `disconnect_peers`.
    Disconnect,
    /// `open_tunnels`.
    Open(Peer),
    /// `view_peers`: the page behind this key.
    Page(Peer),
}

/// A set of agents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Agents(u8);

impl Agents {
    /// Whether it is new, as for a set of the standard library.
    pub fn insert(&mut self, agent: Peer) -> bool {
        let new = !self.contains(agent);
        self.0 |= 1 << agent;
        new
    }

    /// One of them.
    pub fn contains(self, agent: Peer) -> bool {
        self.0 & (1 << agent) != 0
    }

    /// A subset.
    pub fn contains_all(self, others: Self) -> bool {
        others.0 & !self.0 == 0
    }

    /// In the order of keys.
    pub fn iter(self) -> impl Iterator<Item = Peer> {
        (0..8).filter(move |agent| self.contains(*agent))
    }
}

/// What a proxy wants done. What is written is read when it is sent, so that it is the latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Request {
    /// A session begins.
    Attach,
    /// Its node is to be written.
    Bind,
    /// It is to be written with all that it has.
    Restore,
    /// It ended.
    Lose,
    /// It ended with a goodbye.
    Disconnect,
    /// It asked for a tunnel.
    Open(Peer),
    /// Its view goes on behind this key.
    Page(Peer),
}

impl Request {
    /// Requests of one session and one key are never in flight at once, see `proxy/src/batcher.rs`.
    pub fn key(self) -> u8 {
        match self {
            Self::Attach | Self::Bind | Self::Restore | Self::Lose | Self::Disconnect => 0,
            Self::Page(_) => 1,
            Self::Open(agent) => 2 + agent,
        }
    }

    /// `Step::merge` of `proxy/src/request.rs`.
    pub fn merge(self, newer: Self) -> Self {
        match (self, newer) {
            (Self::Disconnect, _) | (_, Self::Disconnect) => Self::Disconnect,
            (Self::Lose, _) | (_, Self::Lose) => Self::Lose,
            (Self::Open(_), _) | (Self::Page(_), _) => newer,
            (older, newer) if older == newer => older,
            _ => Self::Restore,
        }
    }
}

impl Call {
    /// What was asked for.
    pub fn request(self) -> Request {
        match self {
            Self::Attach => Request::Attach,
            Self::Bind { .. } => Request::Bind,
            Self::Restore { .. } => Request::Restore,
            Self::Lose => Request::Lose,
            Self::Disconnect => Request::Disconnect,
            Self::Open(agent) => Request::Open(agent),
            Self::Page(after) => Request::Page(after),
        }
    }
}

/// A call that was sent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flight {
    /// Of which coordinator.
    pub at: usize,
    /// For which session.
    pub session: Session,
    /// With what was read when it was sent.
    pub call: Call,
    /// The proxy gave it up: if it is committed, nobody learns so.
    pub orphan: bool,
    /// Without the networks' locks: what it read before it writes.
    pub seen: Option<Box<Tables>>,
}
