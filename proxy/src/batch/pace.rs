//! How far batches are apart: so far as it saves calls, and no further.
//!
//! A call costs Postgres and the proxy as much as some twenty requests. When requests come one by one, a batch that waits
//! makes them late and saves nothing. When many come while one call runs, a batch that waits for them saves calls.
//!
//! - What is observed: how many requests arrive in a second, and how long a call takes. Both are of late: the rate forgets
//!   within a few [`MEMORY`]s, the time of a call within a few calls.
//! - What is decided: the time from one batch to the next, `call time × min(requests that arrive in a call time, 4)`.
//! - At rest it is next to nothing: a tenth of a request arrives in the time of a call, and the next batch may go after a
//!   tenth of that time. Under load it is [`CALLS_APART`] call times, so calls take a quarter of the time of one worker.
//! - It cannot swing: longer intervals make larger batches and so longer calls, but a call grows with its batch much less
//!   than in proportion, and the interval is bounded by call times and by the option. It cannot starve: the interval is
//!   counted from the last batch, and a full batch waits for nothing.
//! - When Postgres becomes slow tenfold, so do calls: more requests arrive in the time of one, batches are further apart and
//!   larger, and Postgres gets fewer calls.
//!
//! Nothing is asked of Postgres or of other proxies. Where several proxies share one Postgres, each of them sees calls that
//! take longer.

use std::time::Duration;

use tokio::time::Instant;

/// Within this time the rate forgets two thirds of what it was.
const MEMORY: Duration = Duration::from_millis(100);

/// Under load, batches are so many call times apart.
const CALLS_APART: f64 = 4.0;

/// How much of the time of a call comes from the last call, the rest being from those before.
const LAST_CALL: f64 = 0.2;

/// The rate of requests and the time of calls, of late.
#[derive(Debug)]
pub struct Pace {
    /// Requests a second, as of `noted`.
    rate: f64,
    noted: Instant,
    /// Seconds from taking a batch to its end.
    call: f64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { rate: 0.0, noted: Instant::now(), call: 0.0 }
    }
}

impl Pace {
    /// A request arrived.
    pub fn arrived(&mut self, now: Instant) {
        self.rate = self.rate(now) + 1.0 / MEMORY.as_secs_f64();
        self.noted = now;
    }

    /// A batch ended after this time.
    pub fn ended(&mut self, took: Duration) {
        self.call += LAST_CALL * (took.as_secs_f64() - self.call);
    }

    /// Requests a second.
    pub fn rate(&self, now: Instant) -> f64 {
        self.rate * (-(now - self.noted).as_secs_f64() / MEMORY.as_secs_f64()).exp()
    }

    /// The time of a call.
    pub fn call(&self) -> Duration {
        Duration::from_secs_f64(self.call)
    }

    /// The time from the last batch to the next.
    pub fn interval(&self, now: Instant) -> Duration {
        let arrive_in_a_call = self.rate(now) * self.call;
        Duration::from_secs_f64(self.call * arrive_in_a_call.min(CALLS_APART))
    }
}
