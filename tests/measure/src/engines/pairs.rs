//! The peers of the fan-out: pairs of a client and an agent that hold their sessions on different coordinators.

use std::collections::HashMap;

use uuid::Uuid;

/// As many as the issue asks for.
pub const COORDINATORS: usize = 4;

/// Peers by their place: a pair is a client in an even place and an agent in the next.
#[derive(Debug)]
pub struct Pairs {
    ids: Vec<Uuid>,
    places: HashMap<Uuid, usize>,
}

impl Pairs {
    /// So many pairs, with random ids.
    pub fn new(pairs: usize) -> Self {
        let ids: Vec<Uuid> = (0..2 * pairs).map(|_| Uuid::new_v4()).collect();
        let places = ids.iter().enumerate().map(|(place, id)| (*id, place)).collect();
        Self { ids, places }
    }

    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// The id of the peer in a place.
    pub fn id(&self, place: usize) -> Uuid {
        self.ids[place]
    }

    /// Where a peer is; None: it is none of these.
    pub fn place(&self, id: Uuid) -> Option<usize> {
        self.places.get(&id).copied()
    }

    /// All of them, by place.
    pub fn ids(&self) -> &[Uuid] {
        &self.ids
    }

    /// Clients and agents, pair by pair.
    pub fn ends(&self) -> impl Iterator<Item = (Uuid, Uuid)> + '_ {
        self.ids.chunks(2).map(|pair| (pair[0], pair[1]))
    }

    /// The places of the peers that a coordinator holds.
    pub fn held_by(&self, coordinator: usize) -> impl Iterator<Item = usize> + '_ {
        (0..self.len()).filter(move |place| self::coordinator(*place) == coordinator)
    }

    /// The places of the pairs with one end on each of the first two coordinators: no other has an interest in them.
    pub fn between_first_two(&self) -> Vec<usize> {
        (0..self.len()).filter(|place| coordinator(*place) < 2 && coordinator(partner(*place)) < 2).collect()
    }
}

/// The other end of a pair.
pub fn partner(place: usize) -> usize {
    place ^ 1
}

/// Which coordinator holds a peer: every two of them share as many pairs.
pub fn coordinator(place: usize) -> usize {
    let pair = place / 2;
    let further = if place.is_multiple_of(2) { 0 } else { 1 + pair / COORDINATORS % (COORDINATORS - 1) };
    (pair + further) % COORDINATORS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partners_are_on_different_coordinators_and_every_two_share_pairs() {
        let pairs = Pairs::new(120);
        let mut shared = HashMap::new();
        for place in 0..pairs.len() {
            assert_eq!(partner(partner(place)), place);
            assert_eq!(pairs.place(pairs.id(place)), Some(place));
            assert_ne!(coordinator(place), coordinator(partner(place)));
            *shared.entry((coordinator(place), coordinator(partner(place)))).or_insert(0) += 1;
        }
        assert_eq!(shared.len(), COORDINATORS * (COORDINATORS - 1));
        assert!(shared.values().all(|count| *count == 20), "{shared:?}");
        assert_eq!((pairs.held_by(3).count(), pairs.between_first_two().len()), (60, 40));
    }
}
