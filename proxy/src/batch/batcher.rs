//! Natural batching with a pace: the requests that arrive while the workers are busy, or soon after a batch was taken, are
//! the next batch. How soon, the [`Pace`] decides.
//!
//! A batcher keeps one request for each key, so it does not grow with traffic. It never gives out a key that is in flight,
//! so the requests of one key reach Postgres in order however many workers there are. After a pause a worker gets a
//! request at once, unless the worker lingers: then the request waits for a full batch, for an urgent request, or for the
//! end of that time.
//!
//! Why there is a pace: a call costs Postgres as much as twenty requests, and an idle worker would make a call for each
//! handful of them. Ten thousand peers that connect at once would be thirty thousand calls, and most of the work would be
//! overhead.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use crate::{batch::pace::Pace, observe::metrics::Counts};

/// A request that waits in a batcher. It can take in a newer one of the same key.
pub trait Request {
    /// The name of the worker that takes it: in logs, in metrics and in `application_name`.
    const WORKER: &'static str;

    /// One request that has the effect of `self` and then `newer`.
    #[must_use]
    fn merge(self, newer: Self) -> Self;

    /// Whether it is taken at once, even by a worker that lingers.
    fn is_urgent(&self) -> bool {
        false
    }
}

/// How requests become batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batching {
    /// The most requests of a batch.
    pub limit: usize,
    /// How long a request that is not urgent waits for others.
    pub linger: Duration,
    /// The least time from one batch to the next, unless that is full.
    pub least: Duration,
    /// The most time that [`Pace`] may put between one batch and the next.
    pub most: Duration,
}

/// The requests that wait for one kind of worker.
#[derive(Debug)]
pub struct Batcher<K, R> {
    state: Mutex<State<K, R>>,
    work: Notify,
    idle: Notify,
    counts: Counts,
}

#[derive(Debug)]
struct State<K, R> {
    /// By key, with the arrival of its first request.
    waiting: HashMap<K, (u64, R)>,
    /// The waiting keys that are not in flight, by arrival.
    free: BTreeMap<u64, K>,
    /// The keys that a worker has, with their arrival, and when they were taken. A request that fails goes back to its place.
    in_flight: HashMap<K, (u64, Instant)>,
    arrivals: u64,
    /// Since when there are free keys.
    free_since: Instant,
    /// When a batch was last taken.
    taken: Option<Instant>,
    pace: Pace,
    /// No worker lingers: a free request is urgent.
    urgent: bool,
    draining: bool,
}

impl<K, R> Default for Batcher<K, R> {
    fn default() -> Self {
        Self::new(Counts::default())
    }
}

impl<K, R> Batcher<K, R> {
    /// An empty batcher that counts here.
    pub fn new(counts: Counts) -> Self {
        let state = State {
            waiting: HashMap::new(),
            free: BTreeMap::new(),
            in_flight: HashMap::new(),
            arrivals: 0,
            free_since: Instant::now(),
            taken: None,
            pace: Pace::default(),
            urgent: false,
            draining: false,
        };
        Self { state: Mutex::new(state), work: Notify::new(), idle: Notify::new(), counts }
    }
}

impl<K: Copy + Eq + Hash, R: Request> Batcher<K, R> {
    /// Adds a request.
    pub fn push(&self, key: K, request: R) {
        let mut state = self.lock();
        state.pace.arrived(Instant::now());
        let request = match state.waiting.remove(&key) {
            Some((arrival, older)) => {
                self.counts.merged.inc();
                (arrival, older.merge(request))
            }
            None => {
                state.arrivals += 1;
                (state.arrivals, request)
            }
        };
        state.put(key, request);
        drop(state);
        self.counts.received.inc();
        self.work.notify_one();
    }

    /// Waits until requests are there and worth a call, and takes the oldest of them. Nothing is lost when the future is
    /// dropped. Each batch must be given back with [`Batcher::finish`].
    pub async fn take(&self, batching: Batching) -> Vec<(K, R)> {
        loop {
            let woken = self.work.notified();
            match self.try_take(batching) {
                Take::Batch(batch) => return batch,
                Take::Nothing => woken.await,
                // It was woken, or the time is over: look again.
                Take::Until(end) => drop(timeout_at(end, woken).await),
            }
        }
    }

    /// From now on batches are taken at once: nothing waits for more requests.
    pub fn drain(&self) {
        self.lock().draining = true;
        self.work.notify_waiters();
        self.work.notify_one();
    }

    /// A batch is over: these keys were taken, and these requests failed. The failed ones wait again; newer requests of the
    /// same keys are merged into them.
    pub fn finish(&self, taken: impl IntoIterator<Item = K>, failed: Vec<(K, R)>) {
        let mut failed: HashMap<K, R> = failed.into_iter().collect();
        let mut state = self.lock();
        let (mut began, mut requests) = (None, 0);
        for key in taken {
            let Some((arrival, taken)) = state.in_flight.remove(&key) else { continue };
            (began, requests) = (Some(taken), requests + 1);
            let newer = state.waiting.remove(&key);
            let older = failed.remove(&key);
            match older {
                Some(_) => self.counts.retried.inc(),
                None => self.counts.written.inc(),
            };
            let request = match (older, newer) {
                (Some(older), Some((_, newer))) => (arrival, older.merge(newer)),
                (Some(older), None) => (arrival, older),
                (None, Some(newer)) => newer,
                (None, None) => continue,
            };
            state.put(key, request);
        }
        if let Some(began) = began {
            state.pace.ended(requests, began.elapsed());
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

    fn try_take(&self, Batching { limit, linger, least, most }: Batching) -> Take<K, R> {
        let mut state = self.lock();
        if state.free.is_empty() {
            return Take::Nothing;
        }
        let now = Instant::now();
        let lingers = if state.urgent { Duration::ZERO } else { linger };
        let apart = state.pace.interval(now).clamp(least, most.max(least));
        let end = (state.free_since + lingers).max(state.taken.map_or(now, |taken| taken + apart));
        if state.free.len() < limit && !state.draining && now < end {
            return Take::Until(end);
        }
        let mut batch = Vec::new();
        while batch.len() < limit {
            let Some((arrival, key)) = state.free.pop_first() else { break };
            let (_, request) = state.waiting.remove(&key).expect("each free key has a request");
            state.in_flight.insert(key, (arrival, now));
            batch.push((key, request));
        }
        self.counts.pace.interval.set(apart.as_secs_f64());
        self.counts.pace.rate.set(state.pace.rate(now));
        self.counts.pace.call.set(state.pace.call().as_secs_f64());
        let more = !state.free.is_empty();
        state.urgent &= more;
        (state.free_since, state.taken) = (now, Some(now));
        drop(state);
        if more {
            self.work.notify_one();
        }
        Take::Batch(batch)
    }

    fn lock(&self) -> MutexGuard<'_, State<K, R>> {
        self.state.lock().expect("no code panics with this lock held")
    }
}

/// What there is to take.
enum Take<K, R> {
    Batch(Vec<(K, R)>),
    Nothing,
    /// Something, but it waits for more until then.
    Until(Instant),
}

impl<K: Copy + Eq + Hash, R: Request> State<K, R> {
    fn put(&mut self, key: K, request: (u64, R)) {
        if !self.in_flight.contains_key(&key) {
            if self.free.is_empty() {
                self.free_since = Instant::now();
            }
            self.free.insert(request.0, key);
            self.urgent |= request.1.is_urgent();
        }
        self.waiting.insert(key, request);
    }

    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.in_flight.is_empty()
    }
}

#[cfg(test)]
mod tests;
