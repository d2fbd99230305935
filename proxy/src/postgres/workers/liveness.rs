//! Writes when agents were connected: connects and disconnects at once, what their pongs say in large batches.

use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    batch::{batcher::Batcher, bisect::Bisect, request::Sighting},
    postgres::{
        store::{Store, agents::Ages},
        worker::{Outcome, Worker},
    },
    state::switchboard::Switchboard,
};

#[derive(Debug, Clone)]
pub struct Liveness;

impl Worker for Liveness {
    type Key = Uuid;
    type Request = Sighting;
    // Of two times the later one stays, in whatever order they arrive.
    const FENCED: bool = false;

    fn batcher(switchboard: &Switchboard) -> &Batcher<Uuid, Sighting> {
        &switchboard.liveness
    }

    async fn run(
        &self,
        switchboard: &Switchboard,
        store: &mut Store,
        _: Uuid,
        batch: Vec<(Uuid, Sighting)>,
    ) -> Outcome<Uuid, Sighting> {
        let mut bisect = Bisect::new([batch]);
        while let Some(chunk) = bisect.next_chunk() {
            let now = Instant::now();
            let (agents, ages): (Vec<_>, Vec<_>) =
                chunk.iter().map(|(id, sighting)| (*id, self::ages(sighting, now))).unzip();
            let result = store.update_agent_connections(switchboard.coordinator, &agents, &ages).await;
            bisect.tell(chunk, result);
        }
        for ((agent, _), error) in bisect.refused {
            tracing::error!(%agent, error, "Postgres refused a sighting");
        }
        Outcome { failed: bisect.failed, errors: bisect.error.into_iter().collect() }
    }
}

fn ages(sighting: &Sighting, now: Instant) -> Ages {
    let age = |time: Option<Instant>| time.map(|time| now.duration_since(time).as_secs_f64());
    Ages { connected: age(sighting.connected), heard: age(sighting.heard), gone: age(sighting.gone) }
}
