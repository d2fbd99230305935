//! Phase: Sightings of all agents, spread evenly in time, from two connections as two proxies hold them.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use serde::Serialize;
use tailnet_tools::cluster;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use crate::{
    common::{figure::Figure, process::cpu, progress::Progress},
    writes::{
        sightings::{CALL, Sightings},
        world::{BATCH, World},
    },
};

/// Between two sightings of an agent, as in the proxy's defaults.
pub const INTERVAL: Duration = Duration::from_secs(15);

/// How often each agent is seen.
pub const ROUNDS: u32 = 4;

/// What Postgres did.
#[derive(Debug, Serialize)]
pub struct Steady {
    /// How the cluster was set.
    pub full_page_writes: bool,
    /// Sightings that changed a row.
    pub sightings: i64,
    /// Share of updates that left the indexes alone.
    pub hot: f64,
    /// Bytes of WAL for each sighting, over all of the time.
    pub wal_a_sighting: f64,
    /// The same for each interval by itself.
    pub wal_by_interval: Figure,
    /// Transactions of sightings a second, for each proxy.
    pub commits_a_second: Vec<f64>,
    /// CPU of each proxy's backend, as a share of one core.
    pub cpu: Vec<f64>,
}

pub async fn run(world: &World, progress: &Progress, full_page_writes: bool) -> Result<Steady> {
    let meter = &world.meter;
    let roles: Vec<_> = world.database.logins().iter().map(|login| login.role.clone()).collect();
    let updates = meter.updates().await?;
    let calls = meter.calls(&roles).await?;
    meter.start_over(full_page_writes).await?;
    let start = Instant::now();
    let mut wal = vec![meter.wal().await?];
    let shares = world.agents.chunks(world.agents.len().div_ceil(roles.len()));
    let proxies = shares.enumerate().map(|(place, agents)| proxy(world, place, agents, start));
    let watch = async {
        for round in 1..=ROUNDS {
            progress.step(&format!("interval {round}"));
            sleep_until(start + INTERVAL * round).await;
            wal.push(meter.wal().await?);
        }
        anyhow::Ok(())
    };
    let (cpu, ()) = tokio::try_join!(try_join_all(proxies), watch)?;
    let seconds = start.elapsed().as_secs_f64();
    let sightings = i64::try_from(world.agents.len())? * i64::from(ROUNDS);
    let after = meter.until_updates(updates.all + sightings).await?;
    let per_interval = wal.windows(2).map(|pair| (pair[1] - pair[0]) / world.agents.len() as f64);
    let calls = meter.calls(&roles).await?.into_iter().zip(calls).map(|(after, before)| (after - before) as f64);
    Ok(Steady {
        full_page_writes,
        sightings,
        hot: (after.hot - updates.hot) as f64 / (after.all - updates.all) as f64,
        wal_a_sighting: (wal[wal.len() - 1] - wal[0]) / sightings as f64,
        wal_by_interval: Figure::of(per_interval.collect()),
        commits_a_second: calls.map(|calls| calls / seconds).collect(),
        cpu: cpu.into_iter().map(|used| used / seconds).collect(),
    })
}

/// One proxy: writes a batch when as many of its agents were seen, and returns the CPU that its backend used.
async fn proxy(world: &World, place: usize, agents: &[Uuid], start: Instant) -> Result<f64> {
    let config = world.database.as_proxy(&world.database.logins()[place]);
    let client = cluster::connect(&config).await?;
    let call = client.prepare(CALL).await?;
    let pid = u32::try_from(client.query_one("SELECT pg_backend_pid()", &[]).await?.get::<_, i32>(0))?;
    let before = cpu(pid)?;
    let batches = agents.chunks(BATCH);
    let pause = INTERVAL / u32::try_from(batches.len())?;
    let mut due = start + pause / 2 * u32::try_from(place)?;
    for batch in batches.cycle().take(agents.chunks(BATCH).len() * ROUNDS as usize) {
        sleep_until(due).await;
        let changed = Sightings::of(batch, SystemTime::now()).write(&client, &call).await?;
        anyhow::ensure!(changed == i64::try_from(batch.len())?, "only {changed} sightings changed a row");
        due += pause;
    }
    Ok(cpu(pid).context("the backend has ended")? - before)
}
