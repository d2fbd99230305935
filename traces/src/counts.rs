//! What became of spans. The difference waits, or was dropped.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;

/// Shared by its clones.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Spans that ended and are to be exported.
    pub ended: Counter<u64, AtomicU64>,
    /// Spans that the collector took.
    pub delivered: Counter<u64, AtomicU64>,
}
