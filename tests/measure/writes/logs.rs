//! Phase: ways to write events of connections.

use anyhow::{Result, ensure};
use tailnet_measure::progress::Progress;
use tokio_postgres::{Client, Statement};

use crate::{
    contest::{Entry, Method, contest},
    events::{Event, IP, OWNER, STAGED, USER_AGENT, WORKSPACE_NAME, as_json, as_lines, connections},
    heartbeats::copy_and_merge,
    world::World,
};

/// Connections of one measurement. Each has two events.
pub const CONNECTIONS: usize = 2_000;

/// Rows that the table has before.
pub const STOCK: usize = 100_000;

/// A way to write events.
#[derive(Debug, Clone, Copy)]
pub enum Way {
    /// One prepared INSERT … ON CONFLICT DO UPDATE an event.
    Upsert,
    /// The function, with this many a call.
    Function(usize),
    /// COPY of this many into a staging table, and one statement that merges them, in one transaction.
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
            Self::Function(rows) => format!("upsert_connection_logs, {rows} a call"),
            Self::Copy(rows) => format!("COPY + merge, {rows} a transaction"),
        }
    }
}

const INTO: &str = "
    INSERT INTO tailnet_private.connection_logs AS l (
        network_id, connection_id, agent_id, agent_name, workspace_id, workspace_name, owner, type, ip, user_agent,
        user_id, connect_time, disconnect_time, disconnect_code, disconnect_reason)";

const ON_CONFLICT: &str = "
    ON CONFLICT (id) DO UPDATE SET
        connect_time = LEAST(l.connect_time, EXCLUDED.connect_time),
        disconnect_time = LEAST(l.disconnect_time, EXCLUDED.disconnect_time),
        disconnect_code = CASE WHEN l.disconnect_time < EXCLUDED.disconnect_time
                               THEN l.disconnect_code ELSE EXCLUDED.disconnect_code END,
        disconnect_reason = CASE WHEN l.disconnect_time < EXCLUDED.disconnect_time
                                 THEN l.disconnect_reason ELSE EXCLUDED.disconnect_reason END";

/// The network is known to the caller, and nothing is checked.
const VALUES: &str = "
    VALUES ($1, $2, $3, 'main', $4, $5, $6, 'ssh', $7::text::inet, $8, $9, $10, $11, $12, $13)";

/// Merges no repeats within a batch: there are none here.
const FROM_STAGED: &str = "
    SELECT i.network_id, e.connection_id, e.agent_id, e.agent_name, e.workspace_id, e.workspace_name,
           e.owner, e.type, e.ip, e.user_agent, e.user_id, e.connect_time, e.disconnect_time, e.code, e.disconnect_reason
    FROM staged e JOIN tailnet_private.identities i ON i.id = e.agent_id AND i.role = 'agent'
    ORDER BY e.connection_id, e.workspace_id, e.agent_name";

struct Writer<'a> {
    world: &'a World,
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
    for agents in world.agents.chunks(STOCK.div_ceil(8)).cycle().take(8) {
        for events in connections(agents).chunks(1_000) {
            writer.write(Way::Copy(events.len()), events).await?;
        }
    }
    contest(&world.meter, progress, rounds, &WAYS, async |way| {
        let events = connections(&world.agents[..CONNECTIONS]);
        let size = match way {
            Way::Upsert => events.len(),
            Way::Function(rows) | Way::Copy(rows) => *rows,
        };
        let mut written = 0;
        for events in events.chunks(size) {
            written += writer.write(*way, events).await?;
        }
        ensure!(written == events.len() as u64, "{} wrote {written} of {} events", way.name(), events.len());
        Ok(events.len())
    })
    .await
}

impl<'a> Writer<'a> {
    async fn open(world: &'a World) -> Result<Self> {
        let client = world.connect().await?;
        let staging = world.connect_planning_as_functions().await?;
        staging.batch_execute(&format!("CREATE TEMP TABLE staged ({STAGED}) ON COMMIT DELETE ROWS")).await?;
        Ok(Self {
            world,
            upsert: client.prepare(&format!("{INTO}{VALUES}{ON_CONFLICT}")).await?,
            call: client.prepare("SELECT tailnet.upsert_connection_logs($1)").await?,
            copy: staging.prepare("COPY staged FROM STDIN").await?,
            merge: staging.prepare(&format!("{INTO}{FROM_STAGED}{ON_CONFLICT}")).await?,
            client,
            staging,
        })
    }

    async fn write(&self, way: Way, events: &[Event]) -> Result<u64> {
        match way {
            Way::Upsert => {
                let mut written = 0;
                for event in events {
                    written += self.upsert(event).await?;
                }
                Ok(written)
            }
            Way::Function(_) => {
                let row = self.client.query_one(&self.call, &[&as_json(events)?]).await?;
                Ok(u64::from(row.get::<_, i32>(0).unsigned_abs()))
            }
            Way::Copy(_) => copy_and_merge(&self.staging, &self.copy, as_lines(events), &self.merge).await,
        }
    }

    async fn upsert(&self, event: &Event) -> Result<u64> {
        let Event { connection, agent, workspace, user, .. } = event;
        let (code, reason) = event.end();
        let (connected, gone) = (event.connected(), event.disconnected());
        let network = &self.world.network;
        Ok(self
            .client
            .execute(
                &self.upsert,
                &[
                    network,
                    connection,
                    agent,
                    workspace,
                    &WORKSPACE_NAME,
                    &OWNER,
                    &IP,
                    &USER_AGENT,
                    user,
                    &connected,
                    &gone,
                    &code,
                    &reason,
                ],
            )
            .await?)
    }
}
