//! The database that all phases work in.

use std::time::SystemTime;

use anyhow::{Context, Result};
use tailnet_harness::database::Database;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::{
    common::{meter::Meter, network},
    writes::sightings::Sightings,
};

/// As many agents as the issue asks for.
pub const AGENTS: usize = 32_000;

/// As the proxy's default.
pub const BATCH: usize = 500;

/// The network, and its agents in the random order in which they are seen.
#[derive(Debug)]
pub struct World {
    /// The database; it has a login for each of two proxies.
    pub database: Database,
    pub meter: Meter,
    pub network: Uuid,
    /// All of them have a row in `agent_connections`.
    pub agents: Vec<Uuid>,
}

impl World {
    pub async fn create() -> Result<Self> {
        let database = Database::create(2).await?;
        let meter = Meter::open(&database).await?;
        let (network, agents) = network::create(&meter.sql, "bench", AGENTS, &["agent"]).await?;
        let agents = agents.into_iter().map(|agent| agent.id).collect();
        let world = Self { database, meter, network, agents };
        world.connect_all().await?;
        world.meter.sql.batch_execute("VACUUM (ANALYZE)").await?;
        Ok(world)
    }

    /// The first connect of every agent.
    async fn connect_all(&self) -> Result<()> {
        let client = self.database.connect().await?;
        for agents in self.agents.chunks(BATCH) {
            let sightings = Sightings::of(agents, SystemTime::now());
            sightings.connect(&client).await.context("cannot connect agents")?;
        }
        Ok(())
    }

    /// A superuser's session that plans as the functions of the extension do: no other plan is index-driven for a table
    /// without statistics, such as a staging table.
    pub async fn connect_planning_as_functions(&self) -> Result<Client> {
        let client = self.database.connect().await?;
        client
            .batch_execute(
                "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;
                 SET plan_cache_mode = force_generic_plan; SET jit = off",
            )
            .await?;
        Ok(client)
    }
}
