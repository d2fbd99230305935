//! What is waiting, what is in flight, and when the next batch may go.

use futures_util::FutureExt as _;

use super::*;

mod load;

const LINGER: Duration = Duration::from_secs(5);

const PACE: Duration = Duration::from_millis(10);

fn lingering(limit: usize) -> Batching {
    Batching { limit, linger: LINGER, least: Duration::ZERO, most: Duration::ZERO }
}

fn paced(limit: usize) -> Batching {
    Batching { limit, linger: Duration::ZERO, least: PACE, most: PACE }
}

/// A step that waits for no other.
const URGENT: u32 = 99;

/// Keeps the steps that led to it.
#[derive(Debug, PartialEq, Eq)]
struct Steps(Vec<u32>);

impl Request for Steps {
    const WORKER: &'static str = "tests";

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
    let batch = batcher
        .take(Batching { least: Duration::ZERO, most: Duration::ZERO, ..paced(limit) })
        .now_or_never()
        .unwrap_or_default();
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
    let batch = batcher.take(Batching { least: Duration::ZERO, most: Duration::ZERO, ..paced(9) }).await;
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
        tokio::spawn(
            async move { batcher.take(Batching { least: Duration::ZERO, most: Duration::ZERO, ..paced(1) }).await },
        )
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
