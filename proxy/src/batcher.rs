//! Natural batching: what arrives while the workers are busy is the next batch.
//!
//! A batcher keeps the latest request a key, so it does not grow with traffic. It never gives out a key that is in
//! flight, so the requests of one key reach Postgres in order however many workers there are. There is no timer: an
//! idle worker takes a request at once.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    sync::{Mutex, MutexGuard},
};

use tokio::sync::Notify;

/// A request that waits, and can take in a newer one of the same key.
pub trait Request {
    /// One request that has the effect of `self` and then `newer`.
    #[must_use]
    fn merge(self, newer: Self) -> Self;
}

/// The waiting requests of one role.
#[derive(Debug)]
pub struct Batcher<K, R> {
    state: Mutex<State<K, R>>,
    work: Notify,
    idle: Notify,
}

#[derive(Debug)]
struct State<K, R> {
    /// By key, with the arrival of its first request.
    waiting: HashMap<K, (u64, R)>,
    /// The waiting keys that are not in flight, by arrival.
    free: BTreeMap<u64, K>,
    /// The keys that a worker has, with their arrival: what fails goes back to its place.
    in_flight: HashMap<K, u64>,
    arrivals: u64,
}

impl<K, R> Default for Batcher<K, R> {
    fn default() -> Self {
        let state = State { waiting: HashMap::new(), free: BTreeMap::new(), in_flight: HashMap::new(), arrivals: 0 };
        Self { state: Mutex::new(state), work: Notify::new(), idle: Notify::new() }
    }
}

impl<K: Copy + Eq + Hash, R: Request> Batcher<K, R> {
    /// Adds a request.
    pub fn push(&self, key: K, request: R) {
        let mut state = self.lock();
        let request = match state.waiting.remove(&key) {
            Some((arrival, older)) => (arrival, older.merge(request)),
            None => {
                state.arrivals += 1;
                (state.arrivals, request)
            }
        };
        state.put(key, request);
        drop(state);
        self.work.notify_one();
    }

    /// Waits until requests are there, and takes up to `limit` of them, oldest first. Nothing is lost when the future
    /// is dropped. Each batch must be given back with [`Batcher::finish`].
    pub async fn take(&self, limit: usize) -> Vec<(K, R)> {
        loop {
            let woken = self.work.notified();
            let batch = self.try_take(limit);
            if !batch.is_empty() {
                return batch;
            }
            woken.await;
        }
    }

    /// A batch is over: these keys were taken, and these requests failed. They wait again, under what is newer.
    pub fn finish(&self, taken: impl IntoIterator<Item = K>, failed: Vec<(K, R)>) {
        let mut failed: HashMap<K, R> = failed.into_iter().collect();
        let mut state = self.lock();
        for key in taken {
            let Some(arrival) = state.in_flight.remove(&key) else { continue };
            let newer = state.waiting.remove(&key);
            let request = match (failed.remove(&key), newer) {
                (Some(older), Some((_, newer))) => (arrival, older.merge(newer)),
                (Some(older), None) => (arrival, older),
                (None, Some(newer)) => newer,
                (None, None) => continue,
            };
            state.put(key, request);
        }
        let (work, idle) = (!state.free.is_empty(), state.is_idle());
        drop(state);
        if work {
            self.work.notify_one();
        }
        if idle {
            self.idle.notify_waiters();
        }
    }

    /// Whether a request of this key waits or is in flight.
    pub fn is_busy(&self, key: &K) -> bool {
        let state = self.lock();
        state.waiting.contains_key(key) || state.in_flight.contains_key(key)
    }

    /// How many requests wait.
    pub fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Whether no request waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until nothing waits and nothing is in flight.
    pub async fn idle(&self) {
        loop {
            let idle = self.idle.notified();
            if self.lock().is_idle() {
                return;
            }
            idle.await;
        }
    }

    fn try_take(&self, limit: usize) -> Vec<(K, R)> {
        let mut state = self.lock();
        let mut batch = Vec::new();
        while batch.len() < limit {
            let Some((arrival, key)) = state.free.pop_first() else { break };
            let (_, request) = state.waiting.remove(&key).expect("each free key has a request");
            state.in_flight.insert(key, arrival);
            batch.push((key, request));
        }
        let more = !state.free.is_empty();
        drop(state);
        if more {
            self.work.notify_one();
        }
        batch
    }

    fn lock(&self) -> MutexGuard<'_, State<K, R>> {
        self.state.lock().expect("no code panics with this lock held")
    }
}

impl<K: Copy + Eq + Hash, R> State<K, R> {
    fn put(&mut self, key: K, request: (u64, R)) {
        if !self.in_flight.contains_key(&key) {
            self.free.insert(request.0, key);
        }
        self.waiting.insert(key, request);
    }

    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.in_flight.is_empty()
    }
}
