//! What the faults of a round explain.

use std::collections::BTreeMap;

/// How a fault hits a proxy. Its sessions may be lost in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hit {
    /// It was out of touch with Postgres for longer than an expiry.
    Expired,
    /// Its websockets end without a close frame.
    Killed,
    /// It was asked to end: its websockets end with 1012.
    Drained,
}

#[derive(Debug, Default)]
pub struct Effects {
    hits: BTreeMap<String, Hit>,
    /// The unlogged tables were emptied.
    pub emptied: bool,
}

impl Effects {
    pub fn hit(proxy: &str, hit: Hit) -> Self {
        Self { hits: [(proxy.to_owned(), hit)].into(), emptied: false }
    }

    pub fn emptied() -> Self {
        Self { emptied: true, ..Self::default() }
    }

    /// The effects of two faults together. They hit different proxies.
    pub fn and(mut self, other: Self) -> Self {
        self.hits.extend(other.hits);
        self.emptied |= other.emptied;
        self
    }

    pub fn of(&self, proxy: &str) -> Option<Hit> {
        self.hits.get(proxy).copied()
    }
}
