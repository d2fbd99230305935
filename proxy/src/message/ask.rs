//! What a peer asks.

use tailnet_wire::{ConnectionEvent, Node};
use uuid::Uuid;

/// The most reports in one ask: they hold their room in a bounded queue together.
pub const MAX_REPORTS: usize = 1024;

/// One request of a peer. Those of one message are done in their order.
#[derive(Debug)]
pub enum Ask {
    /// Keep these reports of connections to the peer. At most [`MAX_REPORTS`].
    Report(Vec<Report>),
    /// This is the peer's node now.
    Announce(Node),
    /// Open or close a tunnel.
    Tunnel {
        /// The other end.
        dst: Uuid,
        /// What is to become of it.
        wish: Wish,
    },
    /// The peer leaves for good. What comes after it in the same message is not done.
    Goodbye,
    /// The peer is ready for handshakes with these peers.
    Ready(Vec<Uuid>),
}

/// What a peer wants of a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wish {
    /// It must be there.
    Open,
    /// It must not be there.
    Close,
}

/// What an agent reports of one connection to it.
#[derive(Debug)]
pub struct Report {
    /// The agent's own id of the report. The report is acknowledged by it.
    pub id: Uuid,
    /// What happened, or why it can never be written.
    pub event: Result<ConnectionEvent, String>,
    /// The agent waits for the answer: it reports nothing more until then.
    pub awaited: bool,
}

impl Ask {
    /// How many requests of the peer wait in batchers because of it. Reports are counted apart: see [`Ask::reports`].
    pub fn requests(&self) -> usize {
        match self {
            Self::Announce(_) | Self::Tunnel { .. } => 1,
            Self::Ready(dsts) => dsts.len(),
            Self::Report(_) | Self::Goodbye => 0,
        }
    }

    /// How many reports it brings.
    pub fn reports(&self) -> usize {
        match self {
            Self::Report(reports) => reports.len(),
            _ => 0,
        }
    }
}
