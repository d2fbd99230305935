//! A batch of sightings of agents, as arguments of `tailnet.update_agent_connections`.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use tokio_postgres::{Client, Statement};
use uuid::Uuid;

/// What a proxy calls.
pub const CALL: &str = "SELECT count(*) FROM tailnet.update_agent_connections($1, $2, $3, $4, $5)";

/// The proxy that all sightings come from.
pub const COORDINATOR: Uuid = Uuid::from_u128(0x0000_0000_0000_4000_8000_0000_0000_0001);

/// One sighting of each of some agents, a microsecond apart.
#[derive(Debug)]
pub struct Sightings {
    agents: Vec<Uuid>,
    times: Vec<SystemTime>,
    coordinators: Vec<Uuid>,
    unknown: Vec<Option<SystemTime>>,
}

impl Sightings {
    /// From this time on.
    pub fn of(agents: &[Uuid], from: SystemTime) -> Self {
        let count = agents.len();
        let times = (0..count as u64).map(|place| from + Duration::from_micros(place)).collect();
        Self { agents: agents.to_vec(), times, coordinators: vec![COORDINATOR; count], unknown: vec![None; count] }
    }

    /// The agents and the times at which they were seen.
    pub fn iter(&self) -> impl Iterator<Item = (Uuid, SystemTime)> {
        self.agents.iter().copied().zip(self.times.iter().copied())
    }

    /// Writes them as later sightings with the prepared [`CALL`], and returns how many rows changed.
    pub async fn write(&self, client: &Client, call: &Statement) -> Result<i64> {
        let Self { agents, times, coordinators, unknown } = self;
        Ok(client.query_one(call, &[agents, unknown, times, unknown, coordinators]).await?.get(0))
    }

    /// Writes them as connects.
    pub async fn connect(&self, client: &Client) -> Result<()> {
        let Self { agents, times, coordinators, unknown } = self;
        client.execute(CALL, &[agents, times, times, unknown, coordinators]).await?;
        Ok(())
    }
}
