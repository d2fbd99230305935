//! When agents were connected: connects and disconnects at once, what their pongs say in large batches.

use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    batcher::{Batcher, Request},
    bisect::Bisect,
    hub::Hub,
    store::Store,
    worker::{Outcome, Role},
};

/// The role.
#[derive(Debug, Clone)]
pub struct Heartbeater;

/// What is to be written of an agent's connection, by agent. The times are of this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct Heartbeat {
    /// It connected.
    pub first: Option<Instant>,
    /// It was last heard.
    pub last: Option<Instant>,
    /// It disconnected.
    pub gone: Option<Instant>,
}

/// How many seconds ago that was; None: it was not.
#[derive(Debug, Clone, Copy)]
pub struct Ages {
    /// See [`Heartbeat`].
    pub first: Option<f64>,
    /// See [`Heartbeat`].
    pub last: Option<f64>,
    /// See [`Heartbeat`].
    pub gone: Option<f64>,
}

impl Heartbeat {
    /// An agent connected now.
    pub fn connected() -> Self {
        let now = Some(Instant::now());
        Self { first: now, last: now, gone: None }
    }

    /// An agent was heard now.
    pub fn heard() -> Self {
        Self { last: Some(Instant::now()), ..Self::default() }
    }

    /// An agent disconnected now.
    pub fn gone() -> Self {
        Self { gone: Some(Instant::now()), ..Self::default() }
    }

    fn ages(&self, now: Instant) -> Ages {
        let age = |time: Option<Instant>| time.map(|time| now.duration_since(time).as_secs_f64());
        Ages { first: age(self.first), last: age(self.last), gone: age(self.gone) }
    }
}

impl Request for Heartbeat {
    /// The earliest connect, the latest of the others: as the table merges them.
    fn merge(self, newer: Self) -> Self {
        let first = match (self.first, newer.first) {
            (Some(older), Some(newer)) => Some(older.min(newer)),
            (older, newer) => older.or(newer),
        };
        Self { first, last: self.last.max(newer.last), gone: self.gone.max(newer.gone) }
    }

    fn is_urgent(&self) -> bool {
        self.first.is_some() || self.gone.is_some()
    }
}

impl Hub {
    /// An agent connected, was heard, or disconnected.
    pub fn beat(&self, agent: Uuid, heartbeat: Heartbeat) {
        self.heartbeater.push(agent, heartbeat);
    }
}

impl Role for Heartbeater {
    type Key = Uuid;
    type Request = Heartbeat;
    const NAME: &'static str = "heartbeater";
    // The later of two times stays, whatever arrives last.
    const FENCED: bool = false;

    fn batcher(hub: &Hub) -> &Batcher<Uuid, Heartbeat> {
        &hub.heartbeater
    }

    async fn run(
        &self,
        hub: &Hub,
        store: &mut Store,
        _: Uuid,
        batch: Vec<(Uuid, Heartbeat)>,
    ) -> Outcome<Uuid, Heartbeat> {
        let mut bisect = Bisect::new([batch]);
        while let Some(chunk) = bisect.next_chunk() {
            let now = Instant::now();
            let (agents, ages): (Vec<_>, Vec<_>) = chunk.iter().map(|(id, beat)| (*id, beat.ages(now))).unzip();
            let result = store.update_agent_connections(hub.coordinator, &agents, &ages).await;
            bisect.tell(chunk, result);
        }
        for ((agent, _), error) in bisect.refused {
            tracing::error!(%agent, error, "heartbeat refused");
        }
        Outcome { failed: bisect.failed, errors: bisect.error.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn b61_a_heartbeat_never_clears_a_disconnect_and_never_goes_back() {
        let (early, late) = (Instant::now(), Instant::now() + Duration::from_secs(1));
        let beat = |first, last, gone| Heartbeat { first, last, gone };
        let merged = beat(Some(late), Some(late), None).merge(beat(Some(early), Some(early), Some(early)));
        assert_eq!((merged.first, merged.last, merged.gone), (Some(early), Some(late), Some(early)));
        assert!(merged.is_urgent());
        assert!(!Heartbeat::heard().merge(Heartbeat::heard()).is_urgent());
    }
}
