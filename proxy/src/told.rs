//! What one peer was told of another, and the rule that makes updates of it.
//!
//! Everything that a peer hears of another peer follows from two of these values: what it knew, and what it is to
//! know. So an update is never sent without a change, whatever happened in between.

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;
use tailnet_wire::{Binding, Digest};
use uuid::Uuid;

/// What a peer knows of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Told {
    /// Nothing, or that it left.
    #[default]
    Nothing,
    /// The node with this digest.
    Node(Digest),
    /// That it was lost.
    Lost,
}

impl Told {
    /// What a peer that knows `self` is to know when the other's binding is this one.
    #[must_use]
    pub fn then(self, binding: Option<&Binding>) -> Self {
        match binding {
            None => Self::Nothing,
            Some(Binding::Ok { digest, .. }) => Self::Node(*digest),
            // Who never saw a peer has no use for the news that it is gone.
            Some(Binding::Lost) if self == Self::Nothing => Self::Nothing,
            Some(Binding::Lost) => Self::Lost,
        }
    }

    /// The update that takes a peer from `self` to `after`.
    pub fn kind_to(self, after: Self) -> Option<Kind> {
        if self == after {
            return None;
        }
        match after {
            Self::Nothing => Some(Kind::Disconnected),
            Self::Node(_) => Some(Kind::Node),
            Self::Lost => Some(Kind::Lost),
        }
    }
}

/// The kinds of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Kind {
    /// The node of the other peer.
    Node,
    /// Its session ended without a goodbye.
    Lost,
    /// It left, or no tunnel is shared with it any more.
    Disconnected,
    /// It waits for a handshake.
    ReadyForHandshake,
}

/// One entry of `peer_updates`.
#[derive(Debug, Clone, Serialize)]
pub struct Update {
    /// The other peer.
    pub id: Uuid,
    /// What happened to it.
    pub kind: Kind,
    /// Its node, as it sent it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<Arc<RawValue>>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
}

impl Update {
    /// An update of this kind; only one of kind [`Kind::Node`] has a node.
    pub fn new(id: Uuid, kind: Kind, node: Option<Arc<RawValue>>) -> Self {
        let reason = match kind {
            Kind::Lost => Some("its connection ended without a goodbye"),
            Kind::Disconnected => Some("it disconnected, or the tunnel was closed"),
            Kind::Node | Kind::ReadyForHandshake => None,
        };
        Self { id, kind, node: node.filter(|_| kind == Kind::Node), reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_needs_a_change() {
        let (one, two) = (Told::Node(Digest(1)), Told::Node(Digest(2)));
        for same in [Told::Nothing, one, Told::Lost] {
            assert_eq!(same.kind_to(same), None);
        }
        assert_eq!(one.kind_to(two), Some(Kind::Node));
        assert_eq!(Told::Lost.kind_to(one), Some(Kind::Node));
        assert_eq!(one.kind_to(Told::Lost), Some(Kind::Lost));
        assert_eq!(Told::Lost.kind_to(Told::Nothing), Some(Kind::Disconnected));
    }

    #[test]
    fn b09_a_peer_that_was_never_seen_is_not_lost() {
        assert_eq!(Told::Nothing.then(Some(&Binding::Lost)), Told::Nothing);
        assert_eq!(Told::Node(Digest(1)).then(Some(&Binding::Lost)), Told::Lost);
    }
}
