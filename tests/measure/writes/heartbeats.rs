//! Phase: ways to write heartbeats of agents that have a row.

use std::{io::Cursor, pin::pin, time::SystemTime};

use anyhow::{Result, ensure};
use futures_util::SinkExt;
use humantime::format_rfc3339_micros;
use tailnet_measure::progress::Progress;
use tokio_postgres::{Client, Statement};

use crate::{
    beats::{Beats, CALL, COORDINATOR},
    contest::{Entry, Method, contest},
    world::World,
};

/// Rows of one measurement. The same for all methods: pages are logged whole once, so more rows have less of that each.
pub const ROWS: usize = 4_000;

/// A way to write heartbeats.
#[derive(Debug, Clone, Copy)]
pub enum Way {
    /// One prepared INSERT … ON CONFLICT DO UPDATE a heartbeat.
    Upsert,
    /// The function, with this many a call.
    Function(usize),
    /// COPY of this many into a staging table, and one UPDATE from it, in one transaction.
    Copy(usize),
}

/// The first one is what the others are compared with.
pub const WAYS: [Way; 7] = [
    Way::Upsert,
    Way::Function(1),
    Way::Function(50),
    Way::Function(500),
    Way::Function(1_000),
    Way::Copy(500),
    Way::Copy(1_000),
];

impl Method for Way {
    fn name(&self) -> String {
        match self {
            Self::Upsert => "single-row upsert".to_owned(),
            Self::Function(rows) => format!("update_agent_connections, {rows} a call"),
            Self::Copy(rows) => format!("COPY + merge, {rows} a transaction"),
        }
    }
}

const UPSERT: &str = "
    INSERT INTO tailnet_private.agent_connections AS c (agent_id, last_connected_at, coordinator_id, updated_at)
    VALUES ($1, $2, $3, clock_timestamp())
    ON CONFLICT (agent_id) DO UPDATE SET
        last_connected_at = EXCLUDED.last_connected_at, coordinator_id = EXCLUDED.coordinator_id,
        updated_at = EXCLUDED.updated_at
    WHERE c.last_connected_at IS NULL OR c.last_connected_at < EXCLUDED.last_connected_at";

const STAGING: &str = "
    CREATE TEMP TABLE staged (agent_id uuid, last_connected_at timestamptz, coordinator_id uuid) ON COMMIT DELETE ROWS";

const MERGE: &str = "
    UPDATE tailnet_private.agent_connections c SET
        last_connected_at = e.last_connected_at, coordinator_id = e.coordinator_id, updated_at = clock_timestamp()
    FROM (SELECT DISTINCT ON (agent_id) * FROM staged ORDER BY agent_id, last_connected_at DESC) e
    WHERE c.agent_id = e.agent_id AND (c.last_connected_at IS NULL OR c.last_connected_at < e.last_connected_at)";

struct Writer {
    client: Client,
    staging: Client,
    upsert: Statement,
    call: Statement,
    copy: Statement,
    merge: Statement,
}

/// Measures all ways.
///
/// # Errors
/// When Postgres refuses, or a way does not write what it should.
pub async fn run(world: &World, progress: &Progress, rounds: usize) -> Result<Vec<Entry>> {
    let writer = Writer::open(world).await?;
    let mut turn = 0;
    contest(&world.meter, progress, rounds, &WAYS, async |way| {
        // Other agents each time, in random order.
        let start = turn * ROWS % (world.agents.len() - ROWS);
        turn += 1;
        let agents = &world.agents[start..start + ROWS];
        let from = SystemTime::now();
        let size = match way {
            Way::Upsert => ROWS,
            Way::Function(rows) | Way::Copy(rows) => *rows,
        };
        let mut written = 0;
        for agents in agents.chunks(size) {
            written += writer.write(*way, &Beats::of(agents, from)).await?;
        }
        ensure!(written == ROWS as u64, "{} wrote {written} rows, expected {ROWS}", way.name());
        Ok(ROWS)
    })
    .await
}

impl Writer {
    async fn open(world: &World) -> Result<Self> {
        let client = world.connect().await?;
        let staging = world.connect_planning_as_functions().await?;
        staging.batch_execute(STAGING).await?;
        Ok(Self {
            upsert: client.prepare(UPSERT).await?,
            call: client.prepare(CALL).await?,
            copy: staging.prepare("COPY staged FROM STDIN").await?,
            merge: staging.prepare(MERGE).await?,
            client,
            staging,
        })
    }

    async fn write(&self, way: Way, beats: &Beats) -> Result<u64> {
        match way {
            Way::Upsert => {
                let mut written = 0;
                for (agent, time) in beats.iter() {
                    written += self.client.execute(&self.upsert, &[&agent, &time, &COORDINATOR]).await?;
                }
                Ok(written)
            }
            Way::Function(_) => Ok(beats.beat(&self.client, &self.call).await?.unsigned_abs()),
            Way::Copy(_) => {
                let lines: String = beats
                    .iter()
                    .map(|(agent, time)| format!("{agent}\t{}\t{COORDINATOR}\n", format_rfc3339_micros(time)))
                    .collect();
                copy_and_merge(&self.staging, &self.copy, lines, &self.merge).await
            }
        }
    }
}

/// One transaction: COPY of these lines, and the statement that merges them.
///
/// # Errors
/// When Postgres refuses.
pub async fn copy_and_merge(client: &Client, copy: &Statement, lines: String, merge: &Statement) -> Result<u64> {
    client.batch_execute("BEGIN").await?;
    let mut sink = pin!(client.copy_in(copy).await?);
    sink.send(Cursor::new(lines.into_bytes())).await?;
    sink.finish().await?;
    let written = client.execute(merge, &[]).await?;
    client.batch_execute("COMMIT").await?;
    Ok(written)
}
