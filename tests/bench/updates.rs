//! Peers announce nodes at a steady rate, each for a partner on the other proxy.

use anyhow::Result;

use crate::{
    cpu::Cpu,
    fleet::Rate,
    world::World,
};

/// What a steady load took.
#[derive(Debug)]
pub struct Steady {
    pub per_second: f64,
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
    pub late_p99: f64,
    pub late_max: f64,
    pub merged: f64,
    pub statements_an_update: f64,
    pub cpu: String,
}

pub async fn run(world: &mut World, rate: Rate, seed: u64) -> Result<Steady> {
    let (cpu, statements) = (world.cpu()?, world.statements().await?);
    let mut updated = world.fleet.update(rate, seed).await?;
    let cpu: Cpu = world.cpu()?.since(&cpu);
    let statements = world.statements_since(&statements).await?;
    updated.latencies.sort_unstable();
    updated.lateness.sort_unstable();
    let at = |sorted: &[u32], share: f64| {
        let rank = (share * sorted.len() as f64).ceil() as usize;
        f64::from(sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()) / 1e3
    };
    Ok(Steady {
        per_second: rate.per_second,
        p50: at(&updated.latencies, 0.5),
        p99: at(&updated.latencies, 0.99),
        max: at(&updated.latencies, 1.0),
        late_p99: at(&updated.lateness, 0.99),
        late_max: at(&updated.lateness, 1.0),
        merged: updated.merged as f64 / updated.due as f64,
        statements_an_update: statements.all as f64 / updated.due as f64,
        cpu: cpu.to_string(),
    })
}
