//! Nobody does anything: peers are pinged and answer, and the liveness of agents is written.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;
use tailnet_harness::Proxy;
use tokio::time::{Instant, sleep_until};

use crate::peers::{cpu::Cpu, options::Scale, world::World};

/// The proxies' default: each peer is pinged once in it.
const PING_INTERVAL: Duration = Duration::from_secs(15);

/// The proxies' default: agents whose liveness is written together.
const BATCH: usize = 500;

/// What it costs.
#[derive(Debug, Serialize)]
pub struct Idle {
    /// Agents on the first proxy, which writes their liveness; as many clients on the second.
    pub agents: usize,
    /// CPU, for each ping interval.
    pub intervals: Vec<Cpu>,
    /// None: nothing was written. Fewer agents than a batch has may wait longer than a short run takes.
    pub liveness: Option<Liveness>,
}

/// What Postgres did with the liveness of the agents meanwhile.
#[derive(Debug, Serialize)]
pub struct Liveness {
    /// Those that changed a row. Postgres counts them some seconds late, which only a short run shows.
    pub rows: i64,
    /// Share of updates that left the indexes alone.
    pub hot: f64,
    /// Bytes of WAL for each, with all that the cluster wrote. The storm has logged each page whole already, unless there
    /// was a checkpoint after it: so `full_page_writes` adds nothing.
    pub wal_each: f64,
    /// Transactions a second of the proxy of the agents.
    pub commits_a_second: f64,
}

pub async fn run(world: &mut World, scale: &Scale) -> Result<Idle> {
    let roles: Vec<_> = world.proxies.iter().map(|proxy: &Proxy| proxy.role().to_owned()).collect();
    let meter = &world.meter;
    let (updates, calls, wal) = (meter.updates().await?, meter.calls(&roles).await?, meter.wal().await?);
    let begin = Instant::now();
    let count = (scale.idle.as_secs() / PING_INTERVAL.as_secs()).max(1);
    let mut intervals = Vec::new();
    let mut before = world.cpu()?;
    for number in 1..=u32::try_from(count)? {
        sleep_until(begin + PING_INTERVAL * number).await;
        let now = world.cpu()?;
        intervals.push(now.since(&before));
        before = now;
    }
    let seconds = begin.elapsed().as_secs_f64();
    let (after, calls_after, wal_after) = (meter.updates().await?, meter.calls(&roles).await?, meter.wal().await?);
    world.fleet.totals().await?.expect_undisturbed()?;
    let rows = after.all - updates.all;
    let agents = world.peers / 2;
    ensure!(rows > 0 || agents < BATCH, "no liveness was written");
    let liveness = (rows > 0).then(|| Liveness {
        rows,
        hot: (after.hot - updates.hot) as f64 / rows as f64,
        wal_each: (wal_after - wal) / rows as f64,
        commits_a_second: (calls_after[0] - calls[0]) as f64 / seconds,
    });
    Ok(Idle { agents, intervals, liveness })
}
