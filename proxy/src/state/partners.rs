//! The partners of one peer, in key order.
//!
//! Nearly every peer has a handful of them, and a hub has tens of thousands. A tree has room for eleven entries as soon as
//! it has one, which is as much memory as the rest of an idle peer's state. So a few partners are a sorted list.

use std::{
    collections::BTreeMap,
    ops::{Bound, RangeBounds as _},
};

use uuid::Uuid;

/// The most partners of a list. More of them are a tree.
const FEW: usize = 16;

/// A map by partner.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Partners<V>(Map<V>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Map<V> {
    Few(Vec<(Uuid, V)>),
    Many(BTreeMap<Uuid, V>),
}

impl<V> Default for Partners<V> {
    fn default() -> Self {
        Self(Map::Few(Vec::new()))
    }
}

impl<V: Default> Partners<V> {
    /// What is kept of a partner.
    pub fn get(&self, id: Uuid) -> Option<&V> {
        match &self.0 {
            Map::Few(list) => place(list, id).ok().map(|at| &list[at].1),
            Map::Many(tree) => tree.get(&id),
        }
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, id: Uuid) -> Option<&mut V> {
        match &mut self.0 {
            Map::Few(list) => place(list, id).ok().map(|at| &mut list[at].1),
            Map::Many(tree) => tree.get_mut(&id),
        }
    }

    /// Adds a partner, unless it is there. Whether it is new.
    pub fn add(&mut self, id: Uuid) -> bool {
        if let Map::Few(list) = &mut self.0 {
            let Err(at) = place(list, id) else { return false };
            if list.len() < FEW {
                list.reserve_exact(1);
                list.insert(at, (id, V::default()));
                return true;
            }
            self.0 = Map::Many(std::mem::take(list).into_iter().collect());
        }
        let Map::Many(tree) = &mut self.0 else { unreachable!("a full list has just become a tree") };
        let before = tree.len();
        tree.entry(id).or_default();
        tree.len() > before
    }

    /// Removes a partner.
    pub fn remove(&mut self, id: Uuid) {
        match &mut self.0 {
            Map::Few(list) => {
                if let Ok(at) = place(list, id) {
                    list.remove(at);
                }
            }
            Map::Many(tree) => {
                tree.remove(&id);
                if tree.is_empty() {
                    *self = Self::default();
                }
            }
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (Uuid, &V)> {
        let (list, tree) = match &self.0 {
            Map::Few(list) => (Some(list), None),
            Map::Many(tree) => (None, Some(tree)),
        };
        let list = list.into_iter().flatten().map(|(id, value)| (*id, value));
        list.chain(tree.into_iter().flatten().map(|(id, value)| (*id, value)))
    }

    /// The keys within these bounds.
    pub fn keys_in(&self, range: (Bound<Uuid>, Bound<Uuid>)) -> Vec<Uuid> {
        match &self.0 {
            Map::Few(list) => list.iter().map(|(id, _)| *id).filter(|id| range.contains(id)).collect(),
            Map::Many(tree) => tree.range(range).map(|(id, _)| *id).collect(),
        }
    }
}

fn place<V>(list: &[(Uuid, V)], id: Uuid) -> Result<usize, usize> {
    list.binary_search_by_key(&id, |(id, _)| *id)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_sorted_map_however_many_there_are(
            steps in prop::collection::vec((any::<bool>(), 0..40u128), 0..200),
            from in 0..40u128,
        ) {
            let (mut partners, mut model) = (Partners::<u128>::default(), BTreeSet::new());
            for (adds, number) in steps {
                let id = Uuid::from_u128(number);
                if adds {
                    prop_assert_eq!(partners.add(id), model.insert(id));
                    *partners.get_mut(id).expect("it was just added") = number;
                } else {
                    partners.remove(id);
                    model.remove(&id);
                }
            }
            let range = (Bound::Excluded(Uuid::from_u128(from)), Bound::Unbounded);
            prop_assert_eq!(partners.keys_in(range), model.range(range).copied().collect::<Vec<_>>());
            prop_assert!(partners.iter().map(|(id, _)| id).eq(model.iter().copied()));
            for id in (0..40).map(Uuid::from_u128) {
                prop_assert_eq!(partners.get(id).copied(), model.contains(&id).then(|| id.as_u128()));
            }
        }
    }
}
