//! What is written to a coordinator's log: `wire/src/event.rs` without what nobody orders by.

/// A peer by its place in the key order.
pub type Peer = u8;

/// The only peer that opens tunnels. All others are agents.
pub const CLIENT: Peer = 0;

/// The client and two agents.
pub const PEERS: usize = 3;

/// All peers.
pub fn peers() -> std::ops::Range<Peer> {
    0..PEERS as Peer
}

/// One websocket of a peer. Numbers are counted for each peer: only those of one peer are ever compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Session {
    /// Whose.
    pub peer: Peer,
    /// The first is 1.
    pub number: u8,
}

/// What a session announced: later announcements of a peer are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node {
    /// The number of the session.
    pub session: u8,
    /// The first is 1.
    pub version: u8,
}

/// What partners are to know of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Binding {
    /// Where it is.
    Ok(Node),
    /// Its session ended without a goodbye, or its coordinator was silent.
    Lost,
}

/// The last key that a page covers, when it is the last page.
pub const END: Peer = Peer::MAX;

/// One entry of a log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// The binding of a peer is now this one.
    Changed { peer: Peer, binding: Binding },
    /// A peer left, and its tunnels with it.
    Disconnected { peer: Peer },
    /// The client opened a tunnel. Each end's binding is there for the coordinator of the other end.
    Opened { agent: Peer, of_client: Option<Binding>, of_agent: Option<Binding> },
    /// A session was superseded.
    Ended(Session),
    /// The partners with keys in (after, until], and no others.
    View { session: Session, after: Option<Peer>, until: Peer, partners: Vec<(Peer, Option<Binding>)> },
    /// What is absent from the tables is absent.
    Settled,
}
