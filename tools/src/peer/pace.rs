//! How fast bytes may leave.

use std::time::Duration;

use tokio::time::Instant;

/// So many bytes at each tick, of which the first is at the beginning. What could not leave at its tick leaves later, so
/// a slow tunnel is not asked for less.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Not zero.
    pub bytes_per_tick: u64,
    /// Between two ticks; not zero.
    pub tick_interval: Duration,
    /// When bytes begin to leave.
    pub begun: Instant,
    /// From when on none leave.
    pub until: Instant,
}

impl Pace {
    /// Whether no more may leave.
    pub fn is_over(&self, now: Instant) -> bool {
        now >= self.until
    }

    /// How many bytes may have left by now, all together.
    pub fn due(&self, now: Instant) -> u64 {
        // The end is no tick any more.
        let last = now.min(self.until - Duration::from_nanos(1));
        let ticks = last.checked_duration_since(self.begun).map_or(0, |passed| self.ticks(passed) + 1);
        ticks.saturating_mul(self.bytes_per_tick)
    }

    /// When that changes next, or it is over.
    pub fn next(&self, now: Instant) -> Instant {
        let tick = match now.checked_duration_since(self.begun) {
            None => self.begun,
            Some(passed) => {
                let into = passed.as_nanos() % self.tick_interval.as_nanos();
                let into = Duration::from_nanos(u64::try_from(into).unwrap_or(u64::MAX));
                now + (self.tick_interval - into)
            }
        };
        tick.min(self.until)
    }

    fn ticks(&self, passed: Duration) -> u64 {
        u64::try_from(passed.as_nanos() / self.tick_interval.as_nanos()).unwrap_or(u64::MAX - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_due_at_ticks_from_the_beginning_to_the_end() {
        let begun = Instant::now() + Duration::from_secs(60);
        let at = |millis| begun + Duration::from_millis(millis);
        let pace = Pace { bytes_per_tick: 7, tick_interval: Duration::from_millis(100), begun, until: at(300) };
        let before = begun - Duration::from_millis(1);
        assert_eq!((pace.due(before), pace.next(before)), (0, begun));
        for (millis, due, next) in [(0, 7, 100), (99, 7, 100), (100, 14, 200), (299, 21, 300)] {
            assert_eq!((pace.due(at(millis)), pace.next(at(millis))), (due, at(next)), "after {millis} ms");
            assert!(!pace.is_over(at(millis)));
        }
        assert_eq!((pace.due(at(300)), pace.due(at(999)), pace.is_over(at(300))), (21, 21, true));
        assert_eq!(Pace { until: begun, ..pace }.due(at(50)), 0, "no time, no tick");
    }
}
