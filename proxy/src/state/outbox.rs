//! What a session has still to deliver to its peer.
//!
//! An outbox conflates: it has at most one entry for each other peer, with what the peer really knows and what it is to
//! know. The updates are made when they are taken. So a slow reader costs bounded memory, skips the steps in between, and
//! still ends on the newest state. An entry that is back where it started is removed.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard},
};

use tailnet_wire::{Binding, Node};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::{
    message::{Change, Delivery, Ending, Refused, Update},
    state::told::Told,
};

/// The most updates in one delivery.
pub const MAX_UPDATES: usize = 1024;

/// A delivery is cut after this many bytes of nodes: a codec writes it in one piece, and the buffer for it stays with the
/// socket.
const MAX_UPDATE_BYTES: usize = 256 * 1024;

/// The most refusals that wait. A peer that makes more errors than it reads loses the later ones, but those of reports: they
/// are bounded like acknowledgements.
const MAX_REFUSED: usize = 64;

/// What waits to be delivered to one peer.
#[derive(Debug, Default)]
pub struct Outbox {
    pub(super) waiting: Mutex<Waiting>,
    pub(super) wake: Notify,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Waiting {
    entries: HashMap<Uuid, Entry>,
    /// The keys of the entries, by first arrival.
    pub(super) order: BTreeMap<u64, Uuid>,
    arrivals: u64,
    /// The ids of reports that are committed. They are bounded: a peer that does not take what is written is not read, so
    /// it cannot report more.
    acknowledged: Vec<Uuid>,
    refused: Vec<Refused>,
    ending: Option<Ending>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    arrival: u64,
    /// The last state that was taken out of the outbox: what the peer knows.
    sent: Told,
    /// The state that the peer will know once this entry is taken.
    target: Told,
    /// The node of `target`. It is there when `target` is a node that differs from `sent`.
    node: Option<Node>,
    /// The other peer is ready for a handshake.
    ready: bool,
}

impl Outbox {
    /// The binding of `other` is this one now. `known` is what the peer knows when the outbox is empty, or will know when it
    /// is. Returns what the peer will know of `other` after this call, once the outbox is empty.
    pub fn tell(&self, other: Uuid, known: Told, binding: Option<&Binding>) -> Told {
        let mut waiting = self.lock();
        let entry = waiting.entries.get(&other);
        let sent = entry.map_or(known, |entry| entry.sent);
        let target = sent.then(binding);
        let ready = entry.is_some_and(|entry| entry.ready) && matches!(target, Told::Node(_));
        let node = match binding {
            Some(Binding::Ok { node, .. }) if target != sent => Some(node.clone()),
            _ => None,
        };
        waiting.put(other, Entry { arrival: 0, sent, target, node, ready });
        drop(waiting);
        self.wake.notify_one();
        target
    }

    /// `other` is ready for a handshake. `known` as in [`Outbox::tell`].
    pub fn ready(&self, other: Uuid, known: Told) {
        let mut waiting = self.lock();
        match waiting.entries.get_mut(&other) {
            Some(entry) => entry.ready = true,
            None => waiting.put(other, Entry { arrival: 0, sent: known, target: known, node: None, ready: true }),
        }
        drop(waiting);
        self.wake.notify_one();
    }

    /// Reports are committed.
    pub fn acknowledge(&self, ids: &[Uuid]) {
        self.lock().acknowledged.extend_from_slice(ids);
        self.wake.notify_one();
    }

    /// A request of the peer was not done.
    pub fn refuse(&self, refused: Refused) {
        let mut waiting = self.lock();
        if waiting.refused.len() < MAX_REFUSED || refused.is_of_report() {
            waiting.refused.push(refused);
        }
        drop(waiting);
        self.wake.notify_one();
    }

    /// The session must end. Whether this is the first reason: that one counts.
    pub fn end(&self, ending: Ending) -> bool {
        let mut waiting = self.lock();
        let first = waiting.ending.is_none();
        waiting.ending.get_or_insert(ending);
        drop(waiting);
        self.wake.notify_one();
        first
    }

    /// Takes what is to be delivered next; empty when nothing waits.
    pub fn take(&self) -> Delivery {
        self.take_part(true)
    }

    /// Without `updates` only what needs no reader: the answers to reports, which are bounded, and the end.
    fn take_part(&self, updates: bool) -> Delivery {
        let mut waiting = self.lock();
        if !updates && waiting.ending.is_none() {
            let acknowledged = std::mem::take(&mut waiting.acknowledged);
            let (refused, others) = std::mem::take(&mut waiting.refused).into_iter().partition(Refused::is_of_report);
            waiting.refused = others;
            return Delivery { acknowledged, refused, ..Delivery::default() };
        }
        let refused = std::mem::take(&mut waiting.refused);
        let acknowledged = std::mem::take(&mut waiting.acknowledged);
        if waiting.ending.is_some() {
            return Delivery { updates: Vec::new(), acknowledged, refused, ending: waiting.ending.clone() };
        }
        Delivery { updates: waiting.take_updates(), acknowledged, refused, ending: None }
    }

    /// Waits until something is to be delivered, and takes it. Nothing is lost when the future is dropped.
    ///
    /// Without `updates`, updates and all refusals but those of reports stay here, because the peer does not read them.
    pub async fn next(&self, updates: bool) -> Delivery {
        loop {
            let woken = self.wake.notified();
            let delivery = self.take_part(updates);
            if !delivery.is_empty() {
                return delivery;
            }
            woken.await;
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("no code panics with this lock held")
    }
}

impl Waiting {
    /// Sets the entry of `other`, or drops it when there is nothing to say. It keeps its place in the order.
    fn put(&mut self, other: Uuid, mut entry: Entry) {
        let earlier = self.entries.get(&other).map(|entry| entry.arrival);
        if entry.target == entry.sent && !entry.ready {
            if let Some(arrival) = earlier {
                self.entries.remove(&other);
                self.order.remove(&arrival);
            }
            return;
        }
        entry.arrival = earlier.unwrap_or_else(|| {
            self.arrivals += 1;
            self.order.insert(self.arrivals, other);
            self.arrivals
        });
        self.entries.insert(other, entry);
    }

    fn take_updates(&mut self) -> Vec<Update> {
        let mut updates = Vec::new();
        let mut bytes = 0;
        // An entry makes two updates at most.
        while updates.len() + 2 <= MAX_UPDATES && bytes < MAX_UPDATE_BYTES {
            let Some((_, other)) = self.order.pop_first() else { break };
            let entry = self.entries.remove(&other).expect("each key of the order has an entry");
            bytes += entry.node.as_ref().map_or(0, |node| node.as_str().len());
            updates.extend(entry.sent.change_to(entry.target, entry.node).map(|change| Update { id: other, change }));
            if entry.ready {
                updates.push(Update { id: other, change: Change::ReadyForHandshake });
            }
        }
        if self.entries.is_empty() {
            // Give the memory of a large view back: an empty map keeps its root, and the session may live for long.
            (self.entries, self.order, self.arrivals) = (HashMap::new(), BTreeMap::new(), 0);
        }
        updates
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tailnet_wire::Digest;

    use super::*;

    const ID: Uuid = Uuid::from_u128(1);
    const TWO: Uuid = Uuid::from_u128(2);

    fn node(digest: i64) -> Binding {
        let node = Node::new(digest.to_string()).expect("a number is JSON");
        Binding::Ok { digest: Digest(digest), node }
    }

    fn told(digest: i64) -> Told {
        Told::Node(Digest(digest))
    }

    fn changes(outbox: &Outbox) -> Vec<(Uuid, Change)> {
        outbox.take().updates.into_iter().map(|update| (update.id, update.change)).collect()
    }

    fn announced(text: &str) -> Change {
        Change::Node(Node::new(text.to_owned()).expect("JSON"))
    }

    #[test]
    fn a_slow_reader_gets_the_newest_state_once_in_order_of_arrival() {
        let outbox = Outbox::default();
        let mut know = outbox.tell(ID, told(7), Some(&node(1)));
        outbox.tell(TWO, Told::Nothing, Some(&node(9)));
        for binding in [Some(node(2)), Some(Binding::Lost), None, Some(node(3))] {
            know = outbox.tell(ID, know, binding.as_ref());
        }
        assert_eq!(know, told(3));
        assert_eq!(changes(&outbox), [(ID, announced("3")), (TWO, announced("9"))]);
        assert_eq!(changes(&outbox), []);
    }

    #[test]
    fn a_change_that_is_undone_is_not_told() {
        let outbox = Outbox::default();
        let know = outbox.tell(ID, told(1), Some(&Binding::Lost));
        assert_eq!(outbox.tell(ID, know, Some(&node(1))), told(1));
        assert_eq!(changes(&outbox), []);
        let know = outbox.tell(ID, Told::Nothing, Some(&node(1)));
        // The peer has not been told of it yet, so it is no loss to it.
        assert_eq!(outbox.tell(ID, know, Some(&Binding::Lost)), Told::Nothing);
        assert!(outbox.next(true).now_or_never().is_none());
    }

    #[test]
    fn a_handshake_comes_after_the_node_and_goes_with_a_loss() {
        let outbox = Outbox::default();
        outbox.ready(ID, Told::Nothing);
        let know = outbox.tell(ID, Told::Nothing, Some(&node(1)));
        assert_eq!(changes(&outbox), [(ID, announced("1")), (ID, Change::ReadyForHandshake)]);
        outbox.ready(ID, know);
        outbox.ready(ID, know);
        assert_eq!(changes(&outbox), [(ID, Change::ReadyForHandshake)]);
        outbox.ready(ID, know);
        outbox.tell(ID, know, Some(&Binding::Lost));
        assert_eq!(changes(&outbox), [(ID, Change::Lost)]);
    }

    #[test]
    fn a_delivery_has_at_most_1024_updates_and_refusals_are_bounded() {
        let outbox = Outbox::default();
        for n in 0..3000 {
            outbox.tell(Uuid::from_u128(n), Told::Nothing, Some(&node(1)));
            outbox.refuse(Refused::Postgres(format!("error {n}")));
        }
        let first = outbox.take();
        assert!((MAX_UPDATES - 1..=MAX_UPDATES).contains(&first.updates.len()));
        assert_eq!(first.refused.len(), MAX_REFUSED);
        let rest = changes(&outbox).len() + changes(&outbox).len();
        assert_eq!(first.updates.len() + rest, 3000);
    }

    #[test]
    fn large_nodes_make_small_deliveries() {
        let outbox = Outbox::default();
        let node = Node::new(format!("\"{}\"", "x".repeat(60_000))).expect("JSON");
        let large = Binding::Ok { digest: Digest(1), node };
        for n in 0..100 {
            outbox.tell(Uuid::from_u128(n), Told::Nothing, Some(&large));
        }
        assert_eq!(outbox.take().updates.len(), MAX_UPDATE_BYTES / 60_000 + 1);
    }

    #[test]
    fn b117_a_peer_that_takes_no_updates_gets_the_answers_to_its_reports_and_the_end() {
        let outbox = Outbox::default();
        outbox.tell(ID, Told::Nothing, Some(&node(1)));
        outbox.refuse(Refused::Postgres("wrong".to_owned()));
        assert!(outbox.next(false).now_or_never().is_none());
        outbox.acknowledge(&[TWO]);
        let delivery = outbox.next(false).now_or_never().expect("an acknowledgement");
        assert_eq!((delivery.acknowledged, delivery.updates.len(), delivery.refused.len()), (vec![TWO], 0, 0));
        let report = Refused::Report { id: TWO, problem: "no".to_owned() };
        outbox.refuse(report.clone());
        let delivery = outbox.next(false).now_or_never().expect("a refused report");
        assert_eq!((delivery.refused, delivery.updates.len()), (vec![report], 0));
        outbox.end(Ending::Revoked);
        let delivery = outbox.next(false).now_or_never().expect("the end");
        assert_eq!((delivery.refused.len(), delivery.ending), (1, Some(Ending::Revoked)));
    }

    #[test]
    fn refusals_come_before_the_ending_and_the_first_reason_counts() {
        let outbox = Outbox::default();
        outbox.tell(ID, Told::Nothing, Some(&node(1)));
        let wrong = Refused::Postgres("wrong".to_owned());
        outbox.refuse(wrong.clone());
        outbox.end(Ending::Refused);
        outbox.end(Ending::Superseded);
        let delivery = outbox.take();
        assert_eq!((delivery.refused, delivery.ending), (vec![wrong], Some(Ending::Refused)));
    }
}
