//! How long many of the same took.

use std::time::Duration;

use serde::{Serialize, Serializer, ser::SerializeStruct as _};

/// All of them: no buckets, so that the quantiles are exact.
#[derive(Debug, Clone, Default)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    /// One more.
    pub fn add(&mut self, latency: Duration) {
        self.0.push(latency);
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The least that so many of a hundred do not exceed, for each of these shares, and the most of all.
    pub fn quantiles<const N: usize>(&self, percents: [f64; N]) -> [Duration; N] {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        percents.map(|percent| {
            let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
            sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
        })
    }
}

/// In milliseconds.
impl Serialize for Latencies {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let [p50, p90, p99, max] = self.quantiles([50.0, 90.0, 99.0, 100.0]).map(|latency| latency.as_secs_f64() * 1e3);
        let mut fields = serializer.serialize_struct("Latencies", 5)?;
        fields.serialize_field("count", &self.count())?;
        for (name, value) in [("p50", p50), ("p90", p90), ("p99", p99), ("max", max)] {
            fields.serialize_field(name, &value)?;
        }
        fields.end()
    }
}

impl std::fmt::Display for Latencies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [p50, p90, p99, max] = self.quantiles([50.0, 90.0, 99.0, 100.0]).map(|latency| latency.as_secs_f64() * 1e3);
        write!(f, "p50 {p50:.1} ms, p90 {p90:.1} ms, p99 {p99:.1} ms, max {max:.1} ms")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_occurred() {
        let mut latencies = Latencies::default();
        (1..=200).rev().for_each(|n| latencies.add(Duration::from_millis(n)));
        let quantiles = latencies.quantiles([0.0, 50.0, 99.0, 99.9, 100.0]).map(|latency| latency.as_millis());
        assert_eq!(quantiles, [1, 100, 198, 200, 200]);
        assert_eq!(Latencies::default().quantiles([99.0]), [Duration::ZERO]);
    }
}
