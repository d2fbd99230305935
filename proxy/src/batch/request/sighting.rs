//! Requests of the liveness worker: it writes when agents were connected.

use tokio::time::Instant;

use crate::batch::batcher::Request;

/// When an agent connected, was last heard, and disconnected, by the clock of this process. Its key is the agent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sighting {
    /// The earliest connect; None: it did not connect.
    pub connected: Option<Instant>,
    /// The last time that the agent was heard; None: it was not.
    pub heard: Option<Instant>,
    /// The latest disconnect; None: it did not disconnect.
    pub gone: Option<Instant>,
}

impl Sighting {
    /// An agent connected now.
    pub fn connected() -> Self {
        let now = Some(Instant::now());
        Self { connected: now, heard: now, gone: None }
    }

    /// An agent was heard now.
    pub fn heard() -> Self {
        Self { heard: Some(Instant::now()), ..Self::default() }
    }

    /// An agent disconnected now.
    pub fn gone() -> Self {
        Self { gone: Some(Instant::now()), ..Self::default() }
    }
}

impl Request for Sighting {
    const WORKER: &'static str = "liveness";

    /// The earliest connect and the latest of the other times, as the table merges them.
    fn merge(self, newer: Self) -> Self {
        let connected = match (self.connected, newer.connected) {
            (Some(older), Some(newer)) => Some(older.min(newer)),
            (older, newer) => older.or(newer),
        };
        Self { connected, heard: self.heard.max(newer.heard), gone: self.gone.max(newer.gone) }
    }

    fn is_urgent(&self) -> bool {
        self.connected.is_some() || self.gone.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn b61_a_sighting_never_clears_a_disconnect_and_never_goes_back() {
        let (early, late) = (Instant::now(), Instant::now() + Duration::from_secs(1));
        let sighting = |connected, heard, gone| Sighting { connected, heard, gone };
        let merged = sighting(Some(late), Some(late), None).merge(sighting(Some(early), Some(early), Some(early)));
        assert_eq!((merged.connected, merged.heard, merged.gone), (Some(early), Some(late), Some(early)));
        assert!(merged.is_urgent());
        assert!(!Sighting::heard().merge(Sighting::heard()).is_urgent());
    }
}
