//! Peers, sets of them, and the tunnels between them. All are small numbers, because a model checker copies them often.

use std::ops::Range;

/// A peer by its place in the key order.
pub type Peer = u8;

/// The most peers of a test.
pub const PEERS: usize = 5;

pub fn peers() -> Range<Peer> {
    0..PEERS as Peer
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peers(u8);

impl Peers {
    /// Whether it is new, as for a set of the standard library.
    pub fn insert(&mut self, peer: Peer) -> bool {
        let new = !self.contains(peer);
        self.0 |= 1 << peer;
        new
    }

    pub fn contains(self, peer: Peer) -> bool {
        self.0 & (1 << peer) != 0
    }

    /// A subset.
    pub fn contains_all(self, others: Self) -> bool {
        others.0 & !self.0 == 0
    }

    /// In the order of keys.
    pub fn iter(self) -> impl Iterator<Item = Peer> {
        peers().filter(move |peer| self.contains(*peer))
    }
}

impl FromIterator<Peer> for Peers {
    fn from_iter<I: IntoIterator<Item = Peer>>(peers: I) -> Self {
        let mut set = Self::default();
        peers.into_iter().for_each(|peer| {
            set.insert(peer);
        });
        set
    }
}

/// A set of tunnels: for each peer, the other ends of those that it opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tunnels([Peers; PEERS]);

impl Tunnels {
    /// Whether it is new.
    pub fn insert(&mut self, src: Peer, dst: Peer) -> bool {
        self.0[usize::from(src)].insert(dst)
    }

    /// Whether it was there.
    pub fn remove(&mut self, src: Peer, dst: Peer) -> bool {
        let old = self.contains(src, dst);
        self.0[usize::from(src)].0 &= !(1 << dst);
        old
    }

    pub fn remove_from(&mut self, src: Peer) {
        self.0[usize::from(src)] = Peers::default();
    }

    pub fn contains(self, src: Peer, dst: Peer) -> bool {
        self.of(src).contains(dst)
    }

    pub fn of(self, src: Peer) -> Peers {
        self.0[usize::from(src)]
    }

    /// All that share a tunnel with a peer.
    pub fn partners(self, peer: Peer) -> impl Iterator<Item = Peer> {
        peers().filter(move |other| self.contains(peer, *other) || self.contains(*other, peer))
    }
}
