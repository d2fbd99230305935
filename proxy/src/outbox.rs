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
    /// Texts of error frames.
    pub errors: Vec<String>,
    /// Write the errors, then close.
    pub close: Option<Close>,
}

impl Delivery {
    fn is_empty(&self) -> bool {
        self.updates.is_empty() && self.errors.is_empty() && self.close.is_none()
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

    /// A request was wrong.
    pub fn error(&self, text: String) {
        let mut waiting = self.lock();
        if waiting.errors.len() < MAX_ERRORS {
            waiting.errors.push_back(text);
        }
        drop(waiting);
        self.wake.notify_one();
    }

    /// The websocket must be closed. The first reason counts.
    pub fn close(&self, close: Close) {
        self.lock().close.get_or_insert(close);
        self.wake.notify_one();
    }

    /// Takes what is next to be written; empty when nothing waits.
    pub fn take(&self) -> Delivery {
        let mut waiting = self.lock();
        let errors = waiting.errors.drain(..).collect();
        if waiting.close.is_some() {
            return Delivery { updates: Vec::new(), errors, close: waiting.close };
        }
        Delivery { updates: waiting.take_updates(), errors, close: None }
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
            // One large view must not cost its memory for as long as the session lives.
            self.entries = HashMap::new();
        }
        updates
    }
}
