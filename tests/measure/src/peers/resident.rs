//! The memory that peers take of proxies.

use serde::Serialize;

use crate::common::process::Memory;

/// The memory of both proxies before a storm and after it.
#[derive(Debug, Serialize)]
pub struct Resident {
    /// Peers of each proxy.
    pub peers: usize,
    /// The agents' proxy, and the clients'.
    pub before: Vec<Memory>,
    pub after: Vec<Memory>,
}

impl Resident {
    /// Bytes for each peer of a proxy, without what it had before they came.
    pub fn a_peer(&self, proxy: usize) -> f64 {
        (self.after[proxy].rss as f64 - self.before[proxy].rss as f64) / self.peers as f64
    }

    /// The same of the proxy that takes more.
    pub fn most_a_peer(&self) -> f64 {
        (0..self.after.len()).map(|proxy| self.a_peer(proxy)).fold(0.0, f64::max)
    }
}
