//! Phase: heartbeats of all agents, spread evenly in time, from two connections as two proxies hold them.

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
        beats::{Beats, CALL},
        world::{BATCH, World},
    },
};

/// Between two heartbeats of an agent, as in the proxy's defaults.
pub const INTERVAL: Duration = Duration::from_secs(15);

/// How often each agent beats.
pub const BEATS: u32 = 4;

/// What Postgres did.
#[derive(Debug, Serialize)]
pub struct Steady {
    /// How the cluster was set.
    pub full_page_writes: bool,
    /// Heartbeats that changed a row.
    pub heartbeats: i64,
    /// Share of updates that left the indexes alone.
    pub hot: f64,
    /// Bytes of WAL for each heartbeat, over all of the time.
    pub wal_a_heartbeat: f64,
    /// The same for each interval by itself.
    pub wal_by_interval: Figure,
    /// Heartbeat transactions a second, for each proxy.
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
        for beat in 1..=BEATS {
            progress.step(&format!("interval {beat}"));
            sleep_until(start + INTERVAL * beat).await;
            wal.push(meter.wal().await?);
        }
        anyhow::Ok(())
    };
    let (cpu, ()) = tokio::try_join!(try_join_all(proxies), watch)?;
    let seconds = start.elapsed().as_secs_f64();
    let heartbeats = i64::try_from(world.agents.len())? * i64::from(BEATS);
    let after = meter.until_updates(updates.all + heartbeats).await?;
    let per_interval = wal.windows(2).map(|pair| (pair[1] - pair[0]) / world.agents.len() as f64);
    let calls = meter.calls(&roles).await?.into_iter().zip(calls).map(|(after, before)| (after - before) as f64);
    Ok(Steady {
        full_page_writes,
        heartbeats,
        hot: (after.hot - updates.hot) as f64 / (after.all - updates.all) as f64,
        wal_a_heartbeat: (wal[wal.len() - 1] - wal[0]) / heartbeats as f64,
        wal_by_interval: Figure::of(per_interval.collect()),
        commits_a_second: calls.map(|calls| calls / seconds).collect(),
        cpu: cpu.into_iter().map(|used| used / seconds).collect(),
    })
}

/// One proxy: writes a batch when as many of its agents have beaten, and returns the CPU that its backend used.
async fn proxy(world: &World, place: usize, agents: &[Uuid], start: Instant) -> Result<f64> {
    let config = world.database.as_proxy(&world.database.logins()[place]);
    let client = cluster::connect(&config).await?;
    let call = client.prepare(CALL).await?;
    let pid = u32::try_from(client.query_one("SELECT pg_backend_pid()", &[]).await?.get::<_, i32>(0))?;
    let before = cpu(pid)?;
    let batches = agents.chunks(BATCH);
    let pause = INTERVAL / u32::try_from(batches.len())?;
    let mut due = start + pause / 2 * u32::try_from(place)?;
    for batch in batches.cycle().take(agents.chunks(BATCH).len() * BEATS as usize) {
        sleep_until(due).await;
        let changed = Beats::of(batch, SystemTime::now()).beat(&client, &call).await?;
        anyhow::ensure!(changed == i64::try_from(batch.len())?, "only {changed} heartbeats changed a row");
        due += pause;
    }
    Ok(cpu(pid).context("the backend has ended")? - before)
}
