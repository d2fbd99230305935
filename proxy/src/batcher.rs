//! Natural batching with a pace: what arrives while the workers are busy, or soon after a batch was taken, is the next
//! batch.
//!
//! A batcher keeps the latest request a key, so it does not grow with traffic. It never gives out a key that is in
//! flight, so the requests of one key reach Postgres in order however many workers there are. After a pause a request is
//! taken at once, unless its role lingers: then it waits for a full batch, an urgent request, or the end of that time.
//!
//! Why a pace: a call costs Postgres as much as twenty entries, and an idle worker would make one for each handful of
//! requests. Ten thousand peers that connect at once are thirty thousand calls then, and most of the work is overhead.

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

use crate::metrics::Counts;

/// A request that waits, and can take in a newer one of the same key.
pub trait Request {
    /// One request that has the effect of `self` and then `newer`.
    #[must_use]
    fn merge(self, newer: Self) -> Self;

    /// Whether it is taken at once, even by a role that lingers.
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
    pub pace: Duration,
}

/// The waiting requests of one role.
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
    /// The keys that a worker has, with their arrival: what fails goes back to its place.
    in_flight: HashMap<K, u64>,
    arrivals: u64,
    /// Since when there are free keys.
    free_since: Instant,
    /// When a batch was last taken.
    taken: Option<Instant>,
    /// Nobody lingers any more: something free is urgent, or the proxy drains.
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
                // Whether it was woken or time is over, the next look decides.
                Take::Until(end) => drop(timeout_at(end, woken).await),
            }
        }
    }

    /// Takes what is there from now on, without waiting for more.
    pub fn drain(&self) {
        self.lock().draining = true;
        self.work.notify_waiters();
        self.work.notify_one();
    }

    /// A batch is over: these keys were taken, and these requests failed. They wait again, under what is newer.
    pub fn finish(&self, taken: impl IntoIterator<Item = K>, failed: Vec<(K, R)>) {
        let mut failed: HashMap<K, R> = failed.into_iter().collect();
        let mut state = self.lock();
        for key in taken {
            let Some(arrival) = state.in_flight.remove(&key) else { continue };
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

    fn try_take(&self, Batching { limit, linger, pace }: Batching) -> Take<K, R> {
        let mut state = self.lock();
        if state.free.is_empty() {
            return Take::Nothing;
        }
        let now = Instant::now();
        let lingers = if state.urgent { Duration::ZERO } else { linger };
        let end = (state.free_since + lingers).max(state.taken.map_or(now, |taken| taken + pace));
        if state.free.len() < limit && !state.draining && now < end {
            return Take::Until(end);
        }
        let mut batch = Vec::new();
        while batch.len() < limit {
            let Some((arrival, key)) = state.free.pop_first() else { break };
            let (_, request) = state.waiting.remove(&key).expect("each free key has a request");
            state.in_flight.insert(key, arrival);
            batch.push((key, request));
        }
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
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const LINGER: Duration = Duration::from_secs(5);

    const PACE: Duration = Duration::from_millis(10);

    fn lingering(limit: usize) -> Batching {
        Batching { limit, linger: LINGER, pace: Duration::ZERO }
    }

    fn paced(limit: usize) -> Batching {
        Batching { limit, linger: Duration::ZERO, pace: PACE }
    }

    /// A step that waits for no other.
    const URGENT: u32 = 99;

    /// Keeps the steps that led to it.
    #[derive(Debug, PartialEq, Eq)]
    struct Steps(Vec<u32>);

    impl Request for Steps {
        fn merge(mut self, newer: Self) -> Self {
            self.0.extend(newer.0);
            self
        }

        fn is_urgent(&self) -> bool {
            self.0.contains(&URGENT)
        }
    }

    fn push(batcher: &Batcher<char, Steps>, key: char, step: u32) {
        batcher.push(key, Steps(vec![step]));
    }

    fn take(batcher: &Batcher<char, Steps>, limit: usize) -> Vec<(char, Vec<u32>)> {
        let batch = batcher.take(Batching { pace: Duration::ZERO, ..paced(limit) }).now_or_never().unwrap_or_default();
        batch.into_iter().map(|(key, Steps(steps))| (key, steps)).collect()
    }

    #[test]
    fn requests_of_a_key_become_one_and_keep_the_place_of_the_first() {
        let batcher = Batcher::default();
        push(&batcher, 'a', 1);
        push(&batcher, 'b', 2);
        push(&batcher, 'a', 3);
        assert_eq!(batcher.len(), 2);
        assert_eq!(take(&batcher, 1), [('a', vec![1, 3])]);
        assert_eq!(take(&batcher, 9), [('b', vec![2])]);
        assert_eq!(take(&batcher, 9), []);
    }

    #[test]
    fn no_key_is_in_flight_twice() {
        let batcher = Batcher::default();
        push(&batcher, 'a', 1);
        assert_eq!(take(&batcher, 9), [('a', vec![1])]);
        push(&batcher, 'a', 2);
        push(&batcher, 'b', 3);
        assert_eq!(take(&batcher, 9), [('b', vec![3])]);
        assert!(batcher.is_busy(&'a'));
        batcher.finish(['a'], Vec::new());
        assert_eq!(take(&batcher, 9), [('a', vec![2])]);
        batcher.finish(['a', 'b'], Vec::new());
        assert!(!batcher.is_busy(&'a'));
    }

    #[test]
    fn what_failed_goes_back_to_its_place_under_what_is_newer() {
        let batcher = Batcher::default();
        push(&batcher, 'a', 1);
        push(&batcher, 'b', 2);
        assert_eq!(take(&batcher, 9).len(), 2);
        push(&batcher, 'c', 3);
        push(&batcher, 'b', 4);
        batcher.finish(['a', 'b'], vec![('b', Steps(vec![2])), ('a', Steps(vec![1]))]);
        assert_eq!(take(&batcher, 9), [('a', vec![1]), ('b', vec![2, 4]), ('c', vec![3])]);
    }

    #[tokio::test(start_paused = true)]
    async fn b62_who_lingers_takes_a_full_batch_or_what_is_there_when_time_is_over() {
        let batcher = Batcher::default();
        push(&batcher, 'a', 1);
        let begun = Instant::now();
        assert!(batcher.take(lingering(2)).now_or_never().is_none());
        assert_eq!(batcher.take(lingering(2)).await.len(), 1);
        assert_eq!(begun.elapsed(), LINGER);
        batcher.finish(['a'], Vec::new());
        for (key, step) in [('a', 2), ('b', 3), ('c', 4)] {
            push(&batcher, key, step);
        }
        assert_eq!(batcher.take(lingering(2)).now_or_never().expect("full").len(), 2);
        assert!(batcher.take(lingering(2)).now_or_never().is_none(), "the rest lingers anew");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_urgent_takes_along_what_lingers_and_a_drain_ends_all_lingering() {
        let batcher = Batcher::default();
        push(&batcher, 'a', 1);
        push(&batcher, 'b', URGENT);
        assert_eq!(batcher.take(lingering(9)).now_or_never().expect("urgent").len(), 2);
        batcher.finish(['a', 'b'], Vec::new());
        push(&batcher, 'a', 2);
        assert!(batcher.take(lingering(9)).now_or_never().is_none());
        batcher.drain();
        assert_eq!(batcher.take(lingering(9)).now_or_never().expect("draining").len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn under_load_batches_are_a_pace_apart_and_after_a_pause_there_is_no_wait() {
        let batcher = Batcher::default();
        let begun = Instant::now();
        push(&batcher, 'a', 1);
        assert_eq!(batcher.take(paced(9)).now_or_never().expect("nothing was taken yet").len(), 1);
        push(&batcher, 'b', 2);
        assert!(batcher.take(paced(9)).now_or_never().is_none());
        push(&batcher, 'c', URGENT);
        assert_eq!(batcher.take(paced(9)).await.len(), 2, "the pace holds for what is urgent, too");
        assert_eq!(begun.elapsed(), PACE);
        for key in ['d', 'e', 'f'] {
            push(&batcher, key, 3);
        }
        assert_eq!(batcher.take(paced(2)).now_or_never().expect("full").len(), 2);
        tokio::time::advance(PACE).await;
        assert_eq!(batcher.take(paced(9)).now_or_never().expect("after a pause").len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_are_counted_as_received_merged_retried_and_written() {
        let batcher = Batcher::default();
        push(&batcher, 'a', 1);
        push(&batcher, 'a', 2);
        push(&batcher, 'b', 3);
        let batch = batcher.take(Batching { pace: Duration::ZERO, ..paced(9) }).await;
        let failed = batch.into_iter().filter(|(key, _)| *key == 'a').collect();
        batcher.finish(['a', 'b'], failed);
        let counts = &batcher.counts;
        let figures = [&counts.received, &counts.merged, &counts.retried, &counts.written].map(|count| count.get());
        assert_eq!(figures, [3, 1, 1, 1]);
    }

    #[tokio::test]
    async fn a_waiting_worker_gets_what_arrives_and_another_gets_the_rest() {
        let batcher = std::sync::Arc::new(Batcher::default());
        let worker = || {
            let batcher = std::sync::Arc::clone(&batcher);
            tokio::spawn(async move { batcher.take(Batching { pace: Duration::ZERO, ..paced(1) }).await })
        };
        let workers = [worker(), worker()];
        tokio::task::yield_now().await;
        push(&batcher, 'a', 1);
        push(&batcher, 'b', 2);
        let mut keys = Vec::new();
        for worker in workers {
            keys.extend(worker.await.expect("no panic").into_iter().map(|(key, _)| key));
        }
        keys.sort_unstable();
        assert_eq!(keys, ['a', 'b']);
    }

    #[tokio::test]
    async fn idle_comes_when_the_last_batch_is_over() {
        let batcher = Batcher::default();
        batcher.idle().await;
        push(&batcher, 'a', 1);
        assert_eq!(take(&batcher, 9).len(), 1);
        assert!(batcher.idle().now_or_never().is_none());
        batcher.finish(['a'], vec![('a', Steps(vec![1]))]);
        assert!(batcher.idle().now_or_never().is_none());
        let mut idle = std::pin::pin!(batcher.idle());
        assert!(idle.as_mut().now_or_never().is_none());
        assert_eq!(take(&batcher, 9).len(), 1);
        batcher.finish(['a'], Vec::new());
        idle.await;
    }
}
