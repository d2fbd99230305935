//! The database that all phases work in.

use std::time::SystemTime;

use anyhow::{Context, Result};
use tailnet_harness::database::Database;
use tailnet_measure::meter::Meter;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::beats::Beats;

/// As many agents as the issue asks for.
pub const AGENTS: usize = 32_000;

/// As the proxy's default.
pub const BATCH: usize = 500;

/// The network, and its agents in the random order in which they beat.
#[derive(Debug)]
pub struct World {
    /// The database; it has a login for each of two proxies.
    pub database: Database,
    /// Looks on.
    pub meter: Meter,
    /// The only network.
    pub network: Uuid,
    /// All of them have a row in `agent_connections`.
    pub agents: Vec<Agent>,
}

/// An identity with the role agent.
#[derive(Debug, Clone)]
pub struct Agent {
    /// Its id.
    pub id: Uuid,
    /// What it connects with.
    pub token: String,
}

/// `tailnet.create_peer` for one statement's worth of agents.
const CREATE_AGENTS: &str = "
    WITH made AS MATERIALIZED (
        SELECT gen_random_uuid() AS id, n,
               'tnp_' || replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '') AS token
        FROM generate_series(1, $2::integer) n),
    kept AS (
        INSERT INTO tailnet_private.identities (id, network_id, role, name, token_sha256)
        SELECT id, $1, 'agent', 'agent ' || n, sha256(convert_to(token, 'UTF8')) FROM made)
    SELECT id, token FROM made";

impl World {
    /// Makes it.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn create() -> Result<Self> {
        let database = Database::create(2).await?;
        let meter = Meter::open(&database).await?;
        let network = meter.sql.query_one("SELECT tailnet.create_network('bench')", &[]).await?.get(0);
        let count = i32::try_from(AGENTS).context("too many agents")?;
        let rows = meter.sql.query(CREATE_AGENTS, &[&network, &count]).await.context("cannot create agents")?;
        let agents = rows.iter().map(|row| Agent { id: row.get(0), token: row.get(1) }).collect();
        let world = Self { database, meter, network, agents };
        world.connect_all().await?;
        world.meter.sql.batch_execute("VACUUM (ANALYZE)").await?;
        Ok(world)
    }

    /// The first connect of every agent.
    async fn connect_all(&self) -> Result<()> {
        let client = self.connect().await?;
        for agents in self.agents.chunks(BATCH) {
            let beats = Beats::of(agents, SystemTime::now());
            beats.connect(&client).await.context("cannot connect agents")?;
        }
        Ok(())
    }

    /// A superuser's session.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn connect(&self) -> Result<Client> {
        self.database.connect().await
    }

    /// A superuser's session that plans as the functions of the extension do: no other plan is index-driven for a table
    /// without statistics, such as a staging table.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn connect_planning_as_functions(&self) -> Result<Client> {
        let client = self.connect().await?;
        client
            .batch_execute(
                "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;
                 SET plan_cache_mode = force_generic_plan; SET jit = off",
            )
            .await?;
        Ok(client)
    }
}
