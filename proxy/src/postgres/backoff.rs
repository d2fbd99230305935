//! How long to wait before the next attempt.

use std::time::Duration;

use rand::RngExt as _;

const FIRST: Duration = Duration::from_millis(50);

/// Shorter than an expiry, so that after a restart of Postgres all proxies are back before others expire them.
const LONGEST: Duration = Duration::from_secs(2);

/// The wait doubles with each failure. It is jittered, so that the proxies do not come back all at once.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// It worked: the next wait is short again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Waits, longer each time.
    pub async fn wait(&mut self) {
        let full = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let jitter = rand::rng().random_range(0.5..1.0);
        tokio::time::sleep(full.mul_f64(jitter)).await;
    }
}
