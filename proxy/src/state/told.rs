//! What one peer was told of another, and the rule that makes updates of it.
//!
//! Everything that a peer hears of another peer follows from two of these values: what it knew, and what it is to
//! know. So an update is never sent without a change, whatever happened in between.

use tailnet_wire::{Binding, Digest, Node};

use crate::message::Change;

/// What a peer knows of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
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
            // A peer that never saw the other has no use for the news that it is gone.
            Some(Binding::Lost) if self == Self::Nothing => Self::Nothing,
            Some(Binding::Lost) => Self::Lost,
        }
    }

    /// The change that takes a peer from `self` to `after`; None: there is nothing to tell. `node` is that of `after`.
    pub fn change_to(self, after: Self, node: Option<Node>) -> Option<Change> {
        if self == after {
            return None;
        }
        match after {
            Self::Nothing => Some(Change::Disconnected),
            Self::Node(_) => node.map(Change::Node),
            Self::Lost => Some(Change::Lost),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_needs_a_change() {
        let node = || Node::new("{}".to_owned()).expect("JSON");
        let (one, two) = (Told::Node(Digest(1)), Told::Node(Digest(2)));
        for same in [Told::Nothing, one, Told::Lost] {
            assert_eq!(same.change_to(same, Some(node())), None);
        }
        assert_eq!(one.change_to(two, Some(node())), Some(Change::Node(node())));
        assert_eq!(Told::Lost.change_to(one, Some(node())), Some(Change::Node(node())));
        assert_eq!(one.change_to(Told::Lost, None), Some(Change::Lost));
        assert_eq!(Told::Lost.change_to(Told::Nothing, None), Some(Change::Disconnected));
    }

    #[test]
    fn b09_a_peer_that_was_never_seen_is_not_lost() {
        assert_eq!(Told::Nothing.then(Some(&Binding::Lost)), Told::Nothing);
        assert_eq!(Told::Node(Digest(1)).then(Some(&Binding::Lost)), Told::Lost);
    }
}
