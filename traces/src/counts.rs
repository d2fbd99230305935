//! How many spans ended, and how many the collector took. The others wait, or were dropped.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;

/// Clones share the counters.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Spans that ended and are to be exported.
    pub ended: Counter<u64, AtomicU64>,
    /// Spans that the collector took.
    pub delivered: Counter<u64, AtomicU64>,
}
