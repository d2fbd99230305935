//! Peers that speak tailnet v2, and as many that speak JSON: each in a world of its own, one after the other.

use std::fmt;

use anyhow::Result;
use serde::Serialize;
use tailnet_harness::private_cluster::PrivateCluster;
use tailnet_tools::websocket::Protocol;
use tokio::time::sleep;

use crate::{
    common::progress::Progress,
    peers::{
        cpu::Cpu,
        idle,
        options::Scale,
        resident::Resident,
        storm::{self, Storm},
        updates::{self, Steady},
        world::World,
    },
};

/// What the peers of both protocols took in one round.
#[derive(Debug, Serialize)]
pub struct Both {
    pub v1: Side,
    pub v2: Side,
}

/// What the peers of one protocol took.
#[derive(Debug, Serialize)]
pub struct Side {
    pub storm: Storm,
    pub memory: Resident,
    /// CPU at rest, for each ping interval.
    pub idle: Vec<Cpu>,
    /// As many updates as can be told.
    pub saturated: Steady,
}

impl Side {
    /// Seconds of CPU of all proxies during the storm.
    pub fn storm_cpu(&self) -> f64 {
        self.storm.cpu.proxies.iter().sum()
    }

    /// Percent of one core that all proxies used at rest: the median of the intervals.
    pub fn idle_share(&self) -> f64 {
        let share = |cpu: &Cpu| cpu.proxies.iter().sum::<f64>() / cpu.seconds * 100.0;
        let mut shares: Vec<f64> = self.idle.iter().map(share).collect();
        shares.sort_unstable_by(f64::total_cmp);
        shares[shares.len() / 2]
    }
}

impl Both {
    /// A figure of v2 for one of v1.
    pub fn ratio(&self, of: impl Fn(&Side) -> f64) -> f64 {
        of(&self.v2) / of(&self.v1)
    }
}

impl fmt::Display for Both {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { v1, v2 } = self;
        write!(f, "v2 ÷ v1: storm {:.2} s ÷ {:.2} s", v2.storm.seconds, v1.storm.seconds)?;
        write!(f, ", CPU of proxies {:.2} s ÷ {:.2} s", v2.storm_cpu(), v1.storm_cpu())?;
        let [told, before] = [v2, v1].map(|side| side.saturated.told_per_second);
        write!(f, ", updates {told:.0} ÷ {before:.0} a second")
    }
}

/// One round. Who is first changes from round to round.
pub async fn run(cluster: &PrivateCluster, scale: &Scale, number: usize, progress: &Progress) -> Result<Both> {
    let (v1, v2);
    if number.is_multiple_of(2) {
        v2 = side(cluster, scale, Protocol::V2, progress).await?;
        v1 = side(cluster, scale, Protocol::V1, progress).await?;
    } else {
        v1 = side(cluster, scale, Protocol::V1, progress).await?;
        v2 = side(cluster, scale, Protocol::V2, progress).await?;
    }
    Ok(Both { v1, v2 })
}

async fn side(cluster: &PrivateCluster, scale: &Scale, protocol: Protocol, progress: &Progress) -> Result<Side> {
    // With half of the pairs there are as many peers on both proxies together as P19 and P10 name.
    let pairs = scale.pairs / 2;
    progress.now("making the peers");
    let mut world = World::create(cluster, pairs, 2, protocol).await?;
    let before = world.memory()?;
    let storm = storm::run(&mut world, progress).await?;
    progress.now("idle");
    sleep(scale.settling).await;
    let memory = Resident { peers: pairs, before, after: world.memory()? };
    let idle = idle::run(&mut world, scale).await?.intervals;
    progress.now("as many updates as can be told");
    let saturated = updates::in_turn(&mut world, scale).await?;
    world.remove().await?;
    Ok(Side { storm, memory, idle, saturated })
}
