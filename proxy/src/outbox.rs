//! What a session has still to write.
//!
//! An outbox conflates: at most one entry for each other peer, holding what the peer really knows and what it is to
//! know. The updates are made when they are taken, so a slow reader costs bounded memory, skips the steps in between,
//! and still ends on the newest state; an entry that is back where it started vanishes.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

use serde_json::value::RawValue;
use tailnet_wire::Binding;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::{
    close::Close,
    told::{Kind, Told, Update},
};

/// The most updates in one frame.
pub const MAX_UPDATES: usize = 1024;

/// A frame is cut after this many bytes of nodes: it is written in one piece, and its buffer stays with the socket.
const MAX_NODE_BYTES: usize = 256 * 1024;

/// The most error frames that wait. A peer that makes more errors than it reads loses the later ones.
const MAX_ERRORS: usize = 64;

/// What a session takes out of its outbox to write it.
#[derive(Debug, Default)]
pub struct Delivery {
    /// At most [`MAX_UPDATES`].
    pub updates: Vec<Update>,
    /// Reports that are committed.
    pub acknowledged: Vec<Uuid>,
    /// Texts of error frames.
    pub errors: Vec<String>,
    /// Write the errors, then close.
    pub close: Option<Close>,
}

impl Delivery {
    fn is_empty(&self) -> bool {
        self.updates.is_empty() && self.acknowledged.is_empty() && self.errors.is_empty() && self.close.is_none()
    }
}

/// What waits to be written to one websocket.
#[derive(Debug, Default)]
pub struct Outbox {
    waiting: Mutex<Waiting>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    entries: HashMap<Uuid, Entry>,
    /// The keys of the entries, by first arrival.
    order: BTreeMap<u64, Uuid>,
    arrivals: u64,
    /// No more than the session has reported: it is not read while it does not take what is written.
    acknowledged: Vec<Uuid>,
    errors: VecDeque<String>,
    close: Option<Close>,
}

#[derive(Debug)]
struct Entry {
    arrival: u64,
    /// What the peer knows.
    before: Told,
    /// What it is to know.
    now: Told,
    /// The node of `now`. There when `now` is a node that differs from `before`.
    node: Option<Arc<RawValue>>,
    /// A handshake is waited for.
    ready: bool,
}

impl Outbox {
    /// The other peer's binding is now this one. `told` is what the peer knew when all that waits was taken;
    /// returned is the same after this call.
    pub fn tell(&self, other: Uuid, told: Told, binding: Option<&Binding>) -> Told {
        let mut waiting = self.lock();
        let entry = waiting.entries.get(&other);
        let before = entry.map_or(told, |entry| entry.before);
        let now = before.then(binding);
        let ready = entry.is_some_and(|entry| entry.ready) && matches!(now, Told::Node(_));
        let node = match binding {
            Some(Binding::Ok { node, .. }) if now != before => Some(Arc::clone(node)),
            _ => None,
        };
        waiting.put(other, Entry { arrival: 0, before, now, node, ready });
        drop(waiting);
        self.wake.notify_one();
        now
    }

    /// The other peer is ready for a handshake.
    pub fn ready(&self, other: Uuid, told: Told) {
        let mut waiting = self.lock();
        match waiting.entries.get_mut(&other) {
            Some(entry) => entry.ready = true,
            None => waiting.put(other, Entry { arrival: 0, before: told, now: told, node: None, ready: true }),
        }
        drop(waiting);
        self.wake.notify_one();
    }

    /// Reports are committed.
    pub fn acknowledge(&self, ids: &[Uuid]) {
        self.lock().acknowledged.extend_from_slice(ids);
        self.wake.notify_one();
    }

    /// A request was wrong.
    pub fn error(&self, text: String) {
        let mut waiting = self.lock();
        if waiting.errors.len() < MAX_ERRORS {
            waiting.errors.push_back(text);
        }
        drop(waiting);
        self.wake.notify_one();
    }

    /// The websocket must be closed. Whether this is the first reason, which counts.
    pub fn close(&self, close: Close) -> bool {
        let mut waiting = self.lock();
        let first = waiting.close.is_none();
        waiting.close.get_or_insert(close);
        drop(waiting);
        self.wake.notify_one();
        first
    }

    /// Takes what is next to be written; empty when nothing waits.
    pub fn take(&self) -> Delivery {
        let mut waiting = self.lock();
        let errors = waiting.errors.drain(..).collect();
        let acknowledged = std::mem::take(&mut waiting.acknowledged);
        if waiting.close.is_some() {
            return Delivery { updates: Vec::new(), acknowledged, errors, close: waiting.close };
        }
        Delivery { updates: waiting.take_updates(), acknowledged, errors, close: None }
    }

    /// Waits until something is to be written, and takes it. Nothing is lost when the future is dropped.
    pub async fn next(&self) -> Delivery {
        loop {
            let woken = self.wake.notified();
            let delivery = self.take();
            if !delivery.is_empty() {
                return delivery;
            }
            woken.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("no code panics with this lock held")
    }
}

impl Waiting {
    /// Sets the entry of `other`, or drops it when there is nothing to say. It keeps its place in the order.
    fn put(&mut self, other: Uuid, mut entry: Entry) {
        let earlier = self.entries.get(&other).map(|entry| entry.arrival);
        if entry.now == entry.before && !entry.ready {
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
        while updates.len() + 2 <= MAX_UPDATES && bytes < MAX_NODE_BYTES {
            let Some((_, other)) = self.order.pop_first() else { break };
            let entry = self.entries.remove(&other).expect("each key of the order has an entry");
            bytes += entry.node.as_ref().map_or(0, |node| node.get().len());
            updates.extend(entry.before.kind_to(entry.now).map(|kind| Update::new(other, kind, entry.node)));
            if entry.ready {
                updates.push(Update::new(other, Kind::ReadyForHandshake, None));
            }
        }
        if self.entries.is_empty() {
            // One large view must not cost its memory for as long as the session lives; and an empty map keeps its root.
            (self.entries, self.order) = (HashMap::new(), BTreeMap::new());
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
        let node = RawValue::from_string(digest.to_string()).expect("a number is JSON").into();
        Binding::Ok { digest: Digest(digest), node }
    }

    fn told(digest: i64) -> Told {
        Told::Node(Digest(digest))
    }

    fn kinds(outbox: &Outbox) -> Vec<(Uuid, Kind, Option<String>)> {
        let text = |update: &Update| update.node.as_ref().map(|node| node.get().to_owned());
        outbox.take().updates.iter().map(|update| (update.id, update.kind, text(update))).collect()
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
        let node = |text: &str| Some(text.to_owned());
        assert_eq!(kinds(&outbox), [(ID, Kind::Node, node("3")), (TWO, Kind::Node, node("9"))]);
        assert_eq!(kinds(&outbox), []);
    }

    #[test]
    fn what_is_back_where_it_was_is_not_told() {
        let outbox = Outbox::default();
        let know = outbox.tell(ID, told(1), Some(&Binding::Lost));
        assert_eq!(outbox.tell(ID, know, Some(&node(1))), told(1));
        assert_eq!(kinds(&outbox), []);
        let know = outbox.tell(ID, Told::Nothing, Some(&node(1)));
        // The peer has not been told of it yet, so it is no loss to it.
        assert_eq!(outbox.tell(ID, know, Some(&Binding::Lost)), Told::Nothing);
        assert!(outbox.next().now_or_never().is_none());
    }

    #[test]
    fn a_handshake_comes_after_the_node_and_goes_with_a_loss() {
        let outbox = Outbox::default();
        outbox.ready(ID, Told::Nothing);
        let know = outbox.tell(ID, Told::Nothing, Some(&node(1)));
        assert_eq!(kinds(&outbox), [(ID, Kind::Node, Some("1".to_owned())), (ID, Kind::ReadyForHandshake, None)]);
        outbox.ready(ID, know);
        outbox.ready(ID, know);
        assert_eq!(kinds(&outbox), [(ID, Kind::ReadyForHandshake, None)]);
        outbox.ready(ID, know);
        outbox.tell(ID, know, Some(&Binding::Lost));
        assert_eq!(kinds(&outbox), [(ID, Kind::Lost, None)]);
    }

    #[test]
    fn a_frame_has_at_most_1024_updates_and_errors_are_bounded() {
        let outbox = Outbox::default();
        for n in 0..3000 {
            outbox.tell(Uuid::from_u128(n), Told::Nothing, Some(&node(1)));
            outbox.error(format!("error {n}"));
        }
        let first = outbox.take();
        assert!((MAX_UPDATES - 1..=MAX_UPDATES).contains(&first.updates.len()));
        assert_eq!(first.errors.len(), MAX_ERRORS);
        let rest = kinds(&outbox).len() + kinds(&outbox).len();
        assert_eq!(first.updates.len() + rest, 3000);
    }

    #[test]
    fn large_nodes_make_small_frames() {
        let outbox = Outbox::default();
        let text = RawValue::from_string(format!("\"{}\"", "x".repeat(60_000))).expect("JSON");
        let large = Binding::Ok { digest: Digest(1), node: text.into() };
        for n in 0..100 {
            outbox.tell(Uuid::from_u128(n), Told::Nothing, Some(&large));
        }
        assert_eq!(outbox.take().updates.len(), MAX_NODE_BYTES / 60_000 + 1);
    }

    #[test]
    fn errors_come_before_the_close_and_the_first_reason_counts() {
        let outbox = Outbox::default();
        outbox.tell(ID, Told::Nothing, Some(&node(1)));
        outbox.error("wrong".to_owned());
        outbox.close(Close::Policy);
        outbox.close(Close::Superseded);
        let delivery = outbox.take();
        assert_eq!((delivery.errors, delivery.close), (vec!["wrong".to_owned()], Some(Close::Policy)));
    }
}
