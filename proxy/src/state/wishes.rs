//! The tunnels that a peer asked for and that the log may not tell yet.
//!
//! The log says which tunnels exist. A wish says what the peer wants beyond that. A wish must outlive its commit until
//! the log has been folded up to it: a restore in between would otherwise bring a closed tunnel back. The proxy counts
//! how far it has folded the log in *marks*. It makes a mark when the LISTEN connection has answered a question: Postgres
//! delivers what was committed before the question ahead of the answer.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::message::Wish;

/// The first mark after a commit may answer a question that was asked before it. The second one cannot.
const MARKS_TO_WAIT: u64 = 2;

/// The wishes of one peer, by the other end of the tunnel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Wishes {
    wishes: BTreeMap<Uuid, Pending>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Pending {
    wish: Wish,
    /// The count of marks when it was committed.
    committed: Option<u64>,
}

impl Wishes {
    /// The peer asks for this now.
    pub fn make(&mut self, other: Uuid, wish: Wish) {
        self.wishes.insert(other, Pending { wish, committed: None });
    }

    /// The request was committed, unless the peer has asked for the opposite since.
    pub fn commit(&mut self, other: Uuid, wish: Wish, marks: u64) {
        if let Some(pending) = self.wishes.get_mut(&other)
            && pending.wish == wish
        {
            pending.committed = Some(marks);
        }
    }

    /// Forgets the wishes that the log tells by now. Whether any that are committed remain.
    pub fn forget(&mut self, marks: u64) -> bool {
        self.wishes.retain(|_, pending| pending.committed.is_none_or(|at| marks < at + MARKS_TO_WAIT));
        if self.wishes.is_empty() {
            self.wishes = BTreeMap::new(); // an empty one keeps its root
        }
        self.wishes.values().any(|pending| pending.committed.is_some())
    }

    /// The wish for a tunnel to `other`.
    pub fn get(&self, other: Uuid) -> Option<Wish> {
        self.wishes.get(&other).map(|pending| pending.wish)
    }

    /// All wishes.
    pub fn iter(&self) -> impl Iterator<Item = (Uuid, Wish)> {
        self.wishes.iter().map(|(id, pending)| (*id, pending.wish))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_outlives_its_commit_by_two_marks() {
        let id = Uuid::from_u128(1);
        let mut wishes = Wishes::default();
        wishes.make(id, Wish::Close);
        assert!(!wishes.forget(9), "nothing is committed");
        wishes.commit(id, Wish::Open, 9);
        assert!(!wishes.forget(20), "that was an earlier request");
        wishes.commit(id, Wish::Close, 20);
        assert!(wishes.forget(21));
        assert_eq!(wishes.get(id), Some(Wish::Close));
        assert!(!wishes.forget(22));
        assert_eq!(wishes.get(id), None);
    }

    #[test]
    fn an_old_commit_does_not_forget_a_new_wish() {
        let id = Uuid::from_u128(1);
        let mut wishes = Wishes::default();
        wishes.make(id, Wish::Open);
        wishes.commit(id, Wish::Open, 1);
        wishes.make(id, Wish::Open);
        assert!(!wishes.forget(100));
        assert_eq!(wishes.get(id), Some(Wish::Open));
    }
}
