//! What a coordinator is told.
//!
//! An event carries the new state itself, so a proxy folds its log without a query. An event does not list the peers that
//! must hear it: the proxy knows from the same log which of its peers share a tunnel with whom.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{fields::Digest, node::Node, refusal::Refusal};

/// One entry of a coordinator's log, in commit order.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The binding of `id` is now this one.
    Changed {
        /// The peer that was bound or lost.
        id: Uuid,
        /// Its new binding.
        binding: Binding,
    },
    /// `id` left for good: its binding and the tunnels that it opened are deleted. Tunnels to it stay.
    Disconnected {
        /// The peer that left.
        id: Uuid,
    },
    /// Tunnels from one peer were opened. Grouped by source, so that a hub's node is carried once for all its tunnels.
    Opened {
        /// The peer that opened them.
        src: Uuid,
        /// Its binding, for coordinators that hold a destination.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        src_binding: Option<Binding>,
        /// The other ends, with their bindings for the coordinator that holds `src`.
        dsts: Vec<TunnelEnd>,
    },
    /// Tunnels from one peer were closed.
    Closed {
        /// The peer that had opened them.
        src: Uuid,
        /// The other ends.
        dsts: Vec<Uuid>,
    },
    /// `src` is ready for a handshake with `dst`.
    Ready {
        /// The peer that said so.
        src: Uuid,
        /// The peer that must hear it.
        dst: Uuid,
    },
    /// A session of this coordinator ended by no act of its own.
    Ended {
        /// Whose session.
        id: Uuid,
        /// Which one: a newer one of the same peer is not meant.
        session: i64,
        /// Why.
        why: Ending,
    },
    /// A request of a session was refused.
    Refused {
        /// Whose session.
        id: Uuid,
        /// Which one.
        session: i64,
        /// Which rule it breaks, with the values that a codec needs to word it.
        why: Refusal,
    },
    /// A page of a view: all tunnel partners of `id` with keys after `after` and up to `until`, and no others.
    View {
        /// Whose view.
        id: Uuid,
        /// For which session.
        session: i64,
        /// The page starts behind this key; None: at the first one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<Uuid>,
        /// The last key that the page covers; None: it is the last page.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Uuid>,
        /// In key order.
        partners: Vec<Partner>,
    },
    /// The DERP map of a network may have changed: it is to be asked for again.
    DerpMap {
        /// The network; None: all networks that have no map of their own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        network: Option<Uuid>,
    },
    /// From now on a partner that is missing from the tables is absent. Before this event it may only not be restored
    /// yet, because a crash had emptied the tables. Each registration gets this event once.
    Settled,
}

impl Event {
    /// The event as [`crate::payload::pack`] takes it.
    ///
    /// # Panics
    /// Never: an event has no numbers or keys that JSON has not.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("events have string keys and finite numbers")
    }
}

/// What a peer's tunnel partners are to know of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Binding {
    /// The peer announced this node and is connected, as far as anyone knows.
    Ok {
        /// Tells nodes apart; equal for nodes that differ in `as_of` only.
        digest: Digest,
        /// The text as the peer sent it.
        node: Node,
    },
    /// The peer's session ended without a goodbye.
    Lost,
}

/// Why a session ended by no act of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", from = "String")]
pub enum Ending {
    /// A newer session of the same peer took over.
    Superseded,
    /// An operator revoked the peer.
    Revoked,
    /// It or its key has expired.
    Expired,
    /// Its key has as many peers as it may.
    Full,
    /// An operator ended the session. The peer may connect again.
    Disconnected,
    /// Its number comes without the proof that the extension gave with it. The peer may connect again.
    Unproved,
    /// For a reason of a newer extension. The extension never writes this.
    #[serde(skip)]
    Unknown,
}

impl From<String> for Ending {
    fn from(word: String) -> Self {
        match word.as_str() {
            "superseded" => Self::Superseded,
            "revoked" => Self::Revoked,
            "expired" => Self::Expired,
            "full" => Self::Full,
            "disconnected" => Self::Disconnected,
            "unproved" => Self::Unproved,
            _ => Self::Unknown,
        }
    }
}

/// The other end of a tunnel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TunnelEnd {
    /// Its peer id.
    pub id: Uuid,
    /// None: it never bound, or the receiver has no use for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Binding>,
}

/// One line of a view: a peer with whom the viewer shares a tunnel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Partner {
    /// Its peer id.
    pub id: Uuid,
    /// The viewer opened a tunnel to it.
    pub outbound: bool,
    /// It opened a tunnel to the viewer.
    pub inbound: bool,
    /// None: it never bound. The proxy needs it all the same, to know that the viewer waits for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Binding>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ending_is_read_as_it_was_written() {
        use Ending::{Expired, Full, Revoked, Superseded, Unproved};
        for ending in [Superseded, Revoked, Expired, Full, Unproved] {
            let text = serde_json::to_string(&ending).expect("it is written");
            assert_eq!(serde_json::from_str::<Ending>(&text).expect("it is read"), ending, "{text}");
        }
        assert!(serde_json::to_string(&Ending::Unknown).is_err(), "nobody writes it");
    }
}
