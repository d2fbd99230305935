//! What is written to a coordinator's log: `wire/src/event.rs` without what nobody orders by.

use crate::peers::Peer;

/// One websocket of a peer. Numbers are counted for each peer: only those of one peer are ever compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Session {
    pub peer: Peer,
    /// The first is 1.
    pub number: u8,
}

/// What a session announced. Where every announcement counts the versions of its session, later ones of a peer are
/// greater. Where the session is left out (0), two sessions may announce the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node {
    /// The number of the session.
    pub session: u8,
    /// Which of its nodes.
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

impl Binding {
    /// None: it is lost.
    pub fn node(self) -> Option<Node> {
        if let Self::Ok(node) = self { Some(node) } else { None }
    }
}

/// One entry of a log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// The binding of a peer is now this one.
    Changed { peer: Peer, binding: Binding },
    /// A peer left, and the tunnels that it opened with it.
    Disconnected { peer: Peer },
    /// A tunnel was opened. Each end's binding is there for the coordinator of the other end.
    Opened { src: Peer, dst: Peer, src_binding: Option<Binding>, dst_binding: Option<Binding> },
    /// A tunnel was closed.
    Closed { src: Peer, dst: Peer },
    /// A session was superseded.
    Ended(Session),
    /// The partners with keys in (after, until], in key order, and no others. None: from the first key, up to the last.
    View { session: Session, after: Option<Peer>, until: Option<Peer>, partners: Vec<Partner> },
    /// What is absent from the tables is absent.
    Settled,
}

/// One line of a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partner {
    pub peer: Peer,
    /// The viewer opened a tunnel to it.
    pub outbound: bool,
    /// It opened a tunnel to the viewer.
    pub inbound: bool,
    /// None: it announced nothing.
    pub binding: Option<Binding>,
}
