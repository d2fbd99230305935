//! What the faults of a round explain, and nothing beyond that.

use std::collections::BTreeSet;

/// The marks that faults leave, by the names of proxies.
#[derive(Debug, Default)]
pub struct Effects {
    /// Their sessions may have been lost: they ended, or were out of touch with Postgres for the time of an expiry.
    pub lost: BTreeSet<String>,
    /// Killed: their websockets end without a close frame.
    pub killed: BTreeSet<String>,
    /// Asked to end: their websockets end with 1012.
    pub drained: BTreeSet<String>,
    pub emptied: bool,
}

impl Effects {
    /// Those of two faults together.
    pub fn and(mut self, other: Self) -> Self {
        self.lost.extend(other.lost);
        self.killed.extend(other.killed);
        self.drained.extend(other.drained);
        self.emptied |= other.emptied;
        self
    }

    /// A proxy was out of touch for longer than an expiry.
    pub fn lost(proxy: &str) -> Self {
        Self { lost: BTreeSet::from([proxy.to_owned()]), ..Self::default() }
    }

    pub fn killed(proxy: &str) -> Self {
        Self { killed: BTreeSet::from([proxy.to_owned()]), ..Self::lost(proxy) }
    }

    pub fn drained(proxy: &str) -> Self {
        Self { drained: BTreeSet::from([proxy.to_owned()]), ..Self::lost(proxy) }
    }

    pub fn emptied() -> Self {
        Self { emptied: true, ..Self::default() }
    }
}
