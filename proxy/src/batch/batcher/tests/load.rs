//! How a batcher paces a load, in virtual time.

use futures_util::FutureExt as _;
use proptest::prelude::*;
use tokio::time::advance;

use super::super::*;

/// The clock goes in steps of this.
const STEP: Duration = Duration::from_micros(50);

const BATCHING: Batching =
    Batching { limit: 500, linger: Duration::ZERO, least: Duration::ZERO, most: Duration::from_millis(10) };

/// When it was made.
struct Asked(Instant);

impl Request for Asked {
    const WORKER: &'static str = "load";

    fn merge(self, _: Self) -> Self {
        self
    }
}

/// When it ends, and its requests.
type Call = (Instant, Vec<(u64, Asked)>);

/// Workers whose calls take a time, and what they did.
struct World {
    batcher: Batcher<u64, Asked>,
    /// The calls that run.
    calls: [Option<Call>; 2],
    /// How much slower than usual Postgres is.
    slower: u32,
    asked: u64,
    due: f64,
    done: Vec<Duration>,
    batches: usize,
}

impl World {
    fn new() -> Self {
        let (calls, done) = ([None, None], Vec::new());
        Self { batcher: Batcher::default(), calls, slower: 1, asked: 0, due: 0.0, done, batches: 0 }
    }

    /// The workers go on for a step; `a_second` requests arrive in each second.
    async fn step(&mut self, a_second: f64) {
        self.due += a_second * STEP.as_secs_f64();
        while self.due >= 1.0 {
            self.due -= 1.0;
            self.asked += 1;
            self.batcher.push(self.asked, Asked(Instant::now()));
        }
        for call in &mut self.calls {
            if let Some((_, requests)) = call.take_if(|(end, _)| *end <= Instant::now()) {
                self.done.extend(requests.iter().map(|(_, Asked(at))| at.elapsed()));
                self.batcher.finish(requests.into_iter().map(|(key, _)| key), Vec::new());
            }
            if call.is_none()
                && let Some(batch) = self.batcher.take(BATCHING).now_or_never()
            {
                // A call costs as much as twenty requests.
                let takes = Duration::from_micros(500 + 25 * batch.len() as u64) * self.slower;
                self.batches += 1;
                *call = Some((Instant::now() + takes, batch));
            }
        }
        advance(STEP).await;
    }

    /// A load for this time. Returns what it was like.
    async fn run(&mut self, a_second: f64, time: Duration) -> Load {
        self.done.clear();
        self.batches = 0;
        for _ in 0..time.as_micros() / STEP.as_micros() {
            self.step(a_second).await;
        }
        let mut waits = std::mem::take(&mut self.done);
        waits.sort_unstable();
        let at = |share: f64| waits.get((waits.len() as f64 * share) as usize).copied().unwrap_or_default();
        Load { median: at(0.5), worst: at(0.99), calls: self.batches as f64 / waits.len() as f64 }
    }
}

/// Times from a request to its commit, and calls a request.
#[derive(Debug)]
struct Load {
    median: Duration,
    worst: Duration,
    calls: f64,
}

const SECOND: Duration = Duration::from_secs(1);

fn ms(milliseconds: f64) -> Duration {
    Duration::from_secs_f64(milliseconds / 1000.0)
}

#[tokio::test(start_paused = true)]
async fn a_request_after_a_pause_goes_at_once() {
    let mut world = World::new();
    world.run(20_000.0, SECOND).await;
    world.run(0.0, SECOND).await;
    let lone = world.run(2.0, SECOND).await;
    assert!(lone.worst <= ms(0.6), "{lone:?}");
}

#[tokio::test(start_paused = true)]
async fn at_a_hundred_and_a_thousand_a_second_a_request_takes_about_a_call() {
    for (a_second, median, worst) in [(100.0, ms(0.6), ms(0.6)), (1000.0, ms(1.4), ms(2.3))] {
        let load = World::new().run(a_second, SECOND).await;
        assert!(load.median <= median && load.worst <= worst, "{a_second} a second: {load:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn at_twenty_thousand_a_second_about_a_hundred_share_a_call() {
    let load = World::new().run(20_000.0, SECOND).await;
    assert!(load.calls <= 0.011 && load.worst <= ms(25.0), "{load:?}");
}

#[tokio::test(start_paused = true)]
async fn a_storm_is_batched_from_its_begin_and_forgotten_soon_after_its_end() {
    let mut world = World::new();
    world.run(100.0, SECOND).await;
    let storm = world.run(20_000.0, SECOND / 5).await;
    assert!(storm.calls <= 0.02, "{storm:?}");
    world.run(100.0, SECOND / 2).await;
    let after = world.run(100.0, SECOND).await;
    assert!(after.worst <= ms(1.0), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_postgres_gets_fewer_calls() {
    let mut world = World::new();
    let fast = world.run(1000.0, SECOND).await;
    world.slower = 10;
    let slow = world.run(1000.0, SECOND).await;
    assert!(slow.calls * 4.0 <= fast.calls, "{fast:?}, {slow:?}");
    assert!(slow.worst <= ms(40.0), "{slow:?}");
    world.slower = 1;
    world.run(1000.0, SECOND).await;
    let again = world.run(1000.0, SECOND).await;
    assert!(again.median <= fast.median * 2, "{fast:?}, {again:?}");
}

#[tokio::test(start_paused = true)]
async fn a_steady_load_has_a_steady_pace() {
    let mut world = World::new();
    world.run(5000.0, SECOND).await;
    let seconds = [world.run(5000.0, SECOND).await.calls, world.run(5000.0, SECOND).await.calls];
    assert!(seconds[0].max(seconds[1]) <= 1.2 * seconds[0].min(seconds[1]), "{seconds:?}");
}

#[tokio::test(start_paused = true)]
async fn a_kind_of_worker_that_has_much_to_do_does_not_delay_another() {
    let (mut loud, mut quiet) = (World::new(), World::new());
    for _ in 0..SECOND.as_micros() / STEP.as_micros() / 2 {
        loud.step(20_000.0).await;
        quiet.step(100.0).await;
    }
    assert!(quiet.done.iter().all(|wait| *wait <= ms(0.6)), "{:?}", quiet.done.iter().max());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever arrives, no request waits for longer than for the calls that run and the longest interval.
    #[test]
    fn no_request_waits_for_a_batch_that_nobody_sends(
        loads in prop::collection::vec((0.0..30_000.0, 1..20_u32), 1..12),
        slower in 1..5_u32,
    ) {
        let clock = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        clock.expect("a runtime starts").block_on(async {
            let mut world = World { slower, ..World::new() };
            for (a_second, steps) in loads {
                world.run(a_second, STEP * 20 * steps).await;
            }
            let waiting = world.asked;
            // What waits is at most this many full batches.
            let batches = waiting.div_ceil(BATCHING.limit as u64) as u32 + 2;
            let call = Duration::from_micros(500 + 25 * BATCHING.limit as u64) * slower;
            world.run(0.0, (call + BATCHING.most) * batches).await;
            prop_assert!(world.batcher.is_empty() && world.calls.iter().all(Option::is_none));
            Ok(())
        })?;
    }
}
