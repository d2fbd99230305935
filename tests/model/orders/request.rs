//! What a proxy wants done. What is written is read when the call is sent, so that it is the latest.

use tailnet_model::{call::Call, peers::Peer};

/// A request of one session.
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
    /// What was asked for by a call.
    pub fn of(call: Call) -> Self {
        match call {
            Call::Attach => Self::Attach,
            Call::Bind(_) => Self::Bind,
            Call::Restore { .. } => Self::Restore,
            Call::Lose => Self::Lose,
            Call::Disconnect => Self::Disconnect,
            Call::Open(dst) => Self::Open(dst),
            Call::Page(after) => Self::Page(after),
            Call::Close(_) => unreachable!("no tunnel is closed here"),
        }
    }

    /// Requests of one session and one key are never in flight at once, see `proxy/src/batch/batcher.rs`.
    pub fn key(self) -> u8 {
        match self {
            Self::Attach | Self::Bind | Self::Restore | Self::Lose | Self::Disconnect => 0,
            Self::Page(_) => 1,
            Self::Open(agent) => 2 + agent,
        }
    }

    /// `Step::merge` of `proxy/src/batch/request/session.rs`.
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
