//! Writes what agents tell of themselves.

use uuid::Uuid;

use crate::{
    batch::{batcher::Batcher, bisect::Bisect, request::AgentState},
    postgres::{
        store::Store,
        worker::{Outcome, Worker},
    },
    state::switchboard::Switchboard,
};

#[derive(Debug, Clone)]
pub struct Describer;

impl Worker for Describer {
    type Key = Uuid;
    type Request = AgentState;
    // Of two states the later one stays, in whatever order they arrive.
    const FENCED: bool = false;

    fn batcher(switchboard: &Switchboard) -> &Batcher<Uuid, AgentState> {
        &switchboard.describer
    }

    async fn run(
        &self,
        _: &Switchboard,
        store: &mut Store,
        _: Uuid,
        batch: Vec<(Uuid, AgentState)>,
    ) -> Outcome<Uuid, AgentState> {
        let mut bisect = Bisect::new([batch]);
        while let Some(chunk) = bisect.next_chunk() {
            let result = store.update_agent_states(&chunk).await;
            bisect.tell(chunk, result);
        }
        for ((agent, _), error) in bisect.refused {
            tracing::error!(%agent, error, "Postgres refused what an agent told of itself");
        }
        Outcome { failed: bisect.failed, errors: bisect.error.into_iter().collect() }
    }
}
