//! Phase: ways to write sightings of agents that have a row.

use std::time::SystemTime;

use anyhow::Result;
use humantime::format_rfc3339_micros;
use tokio_postgres::{Client, Statement};
use uuid::Uuid;

use crate::{
    common::progress::Progress,
    writes::{
        contest::{Entry, contest},
        sightings::{CALL, COORDINATOR, Sightings},
        way::{Staging, Writer},
        world::World,
    },
};

/// Rows of one measurement. The same for all methods: pages are logged whole once, so more rows have less of that each.
pub const ROWS: usize = 4_000;

const UPSERT: &str = "
    INSERT INTO tailnet_private.agent_connections AS c (agent_id, last_connected_at, coordinator_id, updated_at)
    VALUES ($1, $2, $3, clock_timestamp())
    ON CONFLICT (agent_id) DO UPDATE SET
        last_connected_at = EXCLUDED.last_connected_at, coordinator_id = EXCLUDED.coordinator_id,
        updated_at = EXCLUDED.updated_at
    WHERE c.last_connected_at IS NULL OR c.last_connected_at < EXCLUDED.last_connected_at";

const STAGED: &str = "agent_id uuid, last_connected_at timestamptz, coordinator_id uuid";

const MERGE: &str = "
    UPDATE tailnet_private.agent_connections c SET
        last_connected_at = e.last_connected_at, coordinator_id = e.coordinator_id, updated_at = clock_timestamp()
    FROM (SELECT DISTINCT ON (agent_id) * FROM staged ORDER BY agent_id, last_connected_at DESC) e
    WHERE c.agent_id = e.agent_id AND (c.last_connected_at IS NULL OR c.last_connected_at < e.last_connected_at)";

struct Liveness {
    client: Client,
    upsert: Statement,
    call: Statement,
    staging: Staging,
}

/// Measures all ways. Fails also when one does not write what it should.
pub async fn run(world: &World, progress: &Progress, rounds: usize) -> Result<Vec<Entry>> {
    let client = world.database.connect().await?;
    let (upsert, call) = (client.prepare(UPSERT).await?, client.prepare(CALL).await?);
    let writer = Liveness { client, upsert, call, staging: Staging::open(world, STAGED, MERGE).await? };
    let mut turn = 0;
    contest(&world.meter, progress, rounds, &writer, || {
        // Other agents each time, in random order.
        let start = turn * ROWS % (world.agents.len() - ROWS);
        turn += 1;
        world.agents[start..start + ROWS].to_vec()
    })
    .await
}

impl Writer for Liveness {
    type Entry = Uuid;

    const FUNCTION: &'static str = "update_agent_connections";

    async fn upsert(&self, agent: &Uuid) -> Result<u64> {
        Ok(self.client.execute(&self.upsert, &[agent, &SystemTime::now(), &COORDINATOR]).await?)
    }

    async fn call(&self, agents: &[Uuid]) -> Result<u64> {
        let changed = Sightings::of(agents, SystemTime::now()).write(&self.client, &self.call).await?;
        Ok(changed.unsigned_abs())
    }

    async fn copy(&self, agents: &[Uuid]) -> Result<u64> {
        let sightings = Sightings::of(agents, SystemTime::now());
        let line = |(agent, time)| format!("{agent}\t{}\t{COORDINATOR}\n", format_rfc3339_micros(time));
        self.staging.write(sightings.iter().map(line).collect()).await
    }
}
