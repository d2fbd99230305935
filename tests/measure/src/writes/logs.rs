//! Phase: ways to write events of connections.

use anyhow::Result;
use tokio_postgres::{Client, Statement, types::ToSql};
use uuid::Uuid;

use crate::{
    common::progress::Progress,
    writes::{
        contest::{Entry, contest},
        events::{Event, STAGED, Time, as_lines, connections},
        way::{Staging, Way, Writer},
        world::World,
    },
};

/// Connections of one measurement. Each has two events.
pub const CONNECTIONS: usize = 2_000;

/// Rows that the table has before.
pub const STOCK: usize = 100_000;

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
    VALUES ($1, $2, $3, $4, $5, $6, $7, 'ssh', $8::text::inet, $9, $10, $11, $12, $13, $14)";

/// Merges no repeats within a batch: there are none here.
const FROM_STAGED: &str = "
    SELECT i.network_id, e.connection_id, e.agent_id, e.agent_name, e.workspace_id, e.workspace_name,
           e.owner, e.type, e.ip, e.user_agent, e.user_id, e.connect_time, e.disconnect_time, e.code, e.disconnect_reason
    FROM staged e JOIN tailnet_private.identities i ON i.id = e.agent_id AND i.role = 'agent'
    ORDER BY e.connection_id, e.workspace_id, e.agent_name";

struct Logs<'a> {
    network: &'a Uuid,
    client: Client,
    upsert: Statement,
    call: Statement,
    staging: Staging,
}

/// Measures all ways. Fails also when one does not write what it should.
pub async fn run(world: &World, progress: &Progress, rounds: usize) -> Result<Vec<Entry>> {
    let client = world.database.connect().await?;
    let writer = Logs {
        network: &world.network,
        upsert: client.prepare(&format!("{INTO}{VALUES}{ON_CONFLICT}")).await?,
        call: client.prepare("SELECT tailnet.upsert_connection_logs($1)").await?,
        client,
        staging: Staging::open(world, STAGED, &format!("{INTO}{FROM_STAGED}{ON_CONFLICT}")).await?,
    };
    for agents in world.agents.chunks(STOCK.div_ceil(8)).cycle().take(8) {
        Way::Copy(1_000).write(&writer, &connections(agents)).await?;
    }
    contest(&world.meter, progress, rounds, &writer, || connections(&world.agents[..CONNECTIONS])).await
}

impl Writer for Logs<'_> {
    type Entry = Event;

    const FUNCTION: &'static str = "upsert_connection_logs";

    async fn upsert(&self, event: &Event) -> Result<u64> {
        let time = |time: &Option<Time>| time.as_ref().map(|time| time.0);
        let (connected, gone) = (time(&event.connect_time), time(&event.disconnect_time));
        let values: [&(dyn ToSql + Sync); 14] = [
            self.network,
            &event.connection_id,
            &event.agent_id,
            &event.agent_name,
            &event.workspace_id,
            &event.workspace_name,
            &event.owner,
            &event.ip,
            &event.user_agent,
            &event.user_id,
            &connected,
            &gone,
            &event.code,
            &event.disconnect_reason,
        ];
        Ok(self.client.execute(&self.upsert, &values).await?)
    }

    async fn call(&self, events: &[Event]) -> Result<u64> {
        let row = self.client.query_one(&self.call, &[&serde_json::to_string(events)?]).await?;
        Ok(u64::from(row.get::<_, i32>(0).unsigned_abs()))
    }

    async fn copy(&self, events: &[Event]) -> Result<u64> {
        self.staging.write(as_lines(events)).await
    }
}
