//! How far batches are apart: so far as it saves calls, and no further.
//!
//! A call costs Postgres and the proxy as much as some twenty requests. When requests come one by one, a batch that waits
//! makes them late and saves nothing. When many come while one call runs, a batch that waits for them saves calls.
//!
//! - What is observed: how many requests arrive in a second, and the fixed cost of a call, which is what a call takes less
//!   the part of its requests. Both are of late: the rate forgets within a few [`MEMORY`]s, the cost within a few calls.
//! - What is decided: the time from one batch to the next, `fixed cost × requests that arrive in it × ` [`WEIGHT`], but at
//!   most [`CALLS_APART`] fixed costs. All fixed costs up to [`USUAL_CALL`] count as the same, so the pace does not follow
//!   their drift.
//! - At rest that is next to nothing: with 250 requests a second it is 0.4 ms, so most find no batch that was taken so shortly
//!   before. With 2,500 a second it is 4 ms, so ten requests share a call. With 10,000 a second it is 13 ms, and more than a
//!   hundred share one.
//! - It cannot swing: a longer interval makes larger batches and so longer calls, but hardly changes the fixed cost of a call.
//!   It cannot starve: the interval has an upper bound, it is counted from the last batch, and a full batch waits for nothing.
//! - When Postgres becomes slow tenfold, so does the fixed cost. The interval grows a hundredfold, up to [`CALLS_APART`] of
//!   these slow calls, and Postgres gets fewer of them.
//!
//! Nothing is asked of Postgres or of other proxies. Where several proxies share one Postgres, each of them sees calls that
//! take longer.

use std::time::Duration;

use tokio::time::Instant;

/// Within this time the rate forgets two thirds of what it was.
const MEMORY: Duration = Duration::from_millis(100);

/// A call costs as much as so many requests, see `docs/performance.md`.
const CALL_COST: f64 = 20.0;

/// How much calls are saved at the expense of latency: 2,500 requests a second should make batches of ten to eleven.
const WEIGHT: f64 = 1.95;

/// Under load, batches are so many fixed costs apart at most.
const CALLS_APART: f64 = 14.0;

/// How much of the fixed cost of a call comes from the last call. The rest comes from those before.
const LAST_CALL: f64 = 0.1;

/// One call that takes long says little. It counts as so many average ones at most.
const LONG_CALL: f64 = 2.0;

/// Seconds that a call is believed to take before the first one. It may be far from right, as it is soon forgotten.
const FIRST_CALL: f64 = 0.001;

/// A fixed cost up to this is usual, in seconds. On one machine it is 0.8 ms in one run and 1.0 ms in the next; as it counts
/// twice, batches would be half as far apart again.
const USUAL_CALL: f64 = 0.00115;

/// What the usual fixed cost counts as, in seconds. What is above [`USUAL_CALL`] is added.
const USUAL_COUNTS: f64 = 0.0009;

/// The rate of requests and the fixed cost of a call, of late.
#[derive(Debug)]
pub struct Pace {
    /// Requests a second, as of `noted`.
    rate: f64,
    noted: Instant,
    /// Seconds that a call takes without the part of its requests.
    call: f64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { rate: 0.0, noted: Instant::now(), call: FIRST_CALL }
    }
}

impl Pace {
    /// A request arrived.
    pub fn arrived(&mut self, now: Instant) {
        self.rate = self.rate(now) + 1.0 / MEMORY.as_secs_f64();
        self.noted = now;
    }

    /// A batch of so many requests ended after this time.
    pub fn ended(&mut self, requests: usize, took: Duration) {
        let fixed = took.as_secs_f64() * CALL_COST / (CALL_COST + requests as f64);
        self.call += LAST_CALL * (fixed.min(LONG_CALL * self.call) - self.call);
    }

    /// Requests a second.
    pub fn rate(&self, now: Instant) -> f64 {
        self.rate * (-(now - self.noted).as_secs_f64() / MEMORY.as_secs_f64()).exp()
    }

    /// The fixed cost of a call, as time.
    pub fn call(&self) -> Duration {
        Duration::from_secs_f64(self.call)
    }

    /// The time from the last batch to the next.
    pub fn interval(&self, now: Instant) -> Duration {
        let call = USUAL_COUNTS + (self.call - USUAL_CALL).max(0.0);
        Duration::from_secs_f64(call * (WEIGHT * self.rate(now) * call).min(CALLS_APART))
    }
}
