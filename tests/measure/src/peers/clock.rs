//! One clock for all processes of the benchmark, which the standard library has for one process only.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// A moment, in nanoseconds since the machine started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Moment(u64);

impl Moment {
    /// This one.
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::Monotonic);
        let part = |value: i64| u64::try_from(value).expect("the clock starts at zero");
        Self(part(now.tv_sec) * 1_000_000_000 + part(now.tv_nsec))
    }

    /// How long after an earlier one it is; nothing, if that is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The one so much later.
    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        Self(self.0 + u64::try_from(time.as_nanos()).expect("the benchmark ends before that"))
    }
}
