//! Peers announce nodes at a steady rate, each for a partner on the other proxy.

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::{
    common::{progress::Progress, statements::Statements},
    peers::{
        clock::Moment,
        control::Updated,
        cpu::Cpu,
        fleet::Rate,
        options::{Scale, UPDATES_A_SECOND},
        world::World,
    },
};

/// A rate is held when 99 of 100 updates take no longer.
pub const HELD_MS: f64 = 100.0;

/// What a steady load took. Latencies count from when an update was due.
#[derive(Debug, Serialize)]
pub struct Steady {
    /// Updates that were due each second.
    pub per_second: f64,
    /// Until the partner's frame was read.
    pub latency_ms: Quantiles,
    /// Until the update's own frame was written: what of the latency is the fault of the load.
    pub lateness_ms: Quantiles,
    /// Updates that partners were told each second, until the last was.
    pub told_per_second: f64,
    /// Share of updates that a later one of the same peer has overtaken.
    pub merged: f64,
    /// Statements of all proxies, all of them counted, for each update that a partner was told.
    pub statements_an_update: f64,
    /// CPU meanwhile.
    pub cpu: Cpu,
    /// Whether p99 is at most [`HELD_MS`].
    pub held: bool,
}

/// Exact ones.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quantiles {
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
}

impl Quantiles {
    /// In milliseconds, of microseconds.
    pub fn of(mut micros: Vec<u32>) -> Self {
        micros.sort_unstable();
        let at = |share: f64| {
            let rank = (share * micros.len() as f64).ceil() as usize;
            f64::from(micros.get(rank.saturating_sub(1)).copied().unwrap_or_default()) / 1e3
        };
        Self { p50: at(0.5), p99: at(0.99), max: at(1.0) }
    }
}

/// One rate.
/// Fails when not every partner is told.
pub async fn run(world: &mut World, scale: &Scale, per_second: f64, seed: u64) -> Result<Steady> {
    let rate = Rate { per_second, unmeasured: scale.unmeasured, measured: scale.measured };
    let before = (world.cpu()?, world.statements().await?);
    let (begin, updated) = world.fleet.update(rate, seed).await?;
    steady(world, before, per_second, begin, updated).await
}

/// As many as can be told: each peer announces a node when its partner was told the one before.
/// Fails when not every partner is told.
pub async fn in_turn(world: &mut World, scale: &Scale) -> Result<Steady> {
    let before = (world.cpu()?, world.statements().await?);
    let (begin, updated) = world.fleet.saturate(scale.measured).await?;
    let per_second = updated.due as f64 / scale.measured.as_secs_f64();
    steady(world, before, per_second, begin, updated).await
}

async fn steady(
    world: &mut World,
    (cpu, statements): (Cpu, Statements),
    per_second: f64,
    begin: Moment,
    updated: Updated,
) -> Result<Steady> {
    let cpu = world.cpu()?.since(&cpu);
    let statements = world.statements_since(&statements).await?;
    world.fleet.totals().await?.expect_undisturbed()?;
    let (told, heard) = ((updated.due - updated.merged) as f64, updated.heard.context("nobody was told anything")?);
    let latency_ms = Quantiles::of(updated.latencies);
    Ok(Steady {
        per_second,
        latency_ms,
        lateness_ms: Quantiles::of(updated.lateness),
        told_per_second: told / heard.since(begin).as_secs_f64(),
        merged: updated.merged as f64 / updated.due as f64,
        statements_an_update: statements.all as f64 / told,
        cpu,
        held: latency_ms.p99 <= HELD_MS,
    })
}

/// More and more, until a rate is not held.
/// Fails when not every partner is told.
pub async fn climb(
    world: &mut World,
    scale: &Scale,
    rates: &[f64],
    seed: u64,
    progress: &Progress,
) -> Result<Vec<Steady>> {
    let mut climbed = Vec::new();
    for (per_second, seed) in rates.iter().zip(seed..) {
        progress.now(&format!("{per_second:.0} updates a second"));
        climbed.push(run(world, scale, *per_second, seed).await?);
        // The rate of the target is tried in any case.
        if *per_second >= UPDATES_A_SECOND && climbed.last().is_some_and(|last| !last.held) {
            break;
        }
    }
    Ok(climbed)
}

/// More than can be told: twice the rate that was not held, or the last one.
/// Fails when not every partner is told.
pub async fn saturate(world: &mut World, scale: &Scale, climbed: &[Steady], seed: u64) -> Result<Steady> {
    let last = climbed.last().context("no rate was tried")?;
    run(world, scale, last.per_second * 2.0, seed).await
}

/// The highest rate up to which all were held; 0: none was.
pub fn highest_held(climbed: &[Steady]) -> f64 {
    climbed.iter().take_while(|steady| steady.held).last().map_or(0.0, |steady| steady.per_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_occurred() {
        let quantiles = Quantiles::of((1..=200).rev().map(|n| n * 1000).collect());
        assert_eq!(quantiles, Quantiles { p50: 100.0, p99: 198.0, max: 200.0 });
        assert_eq!(Quantiles::of(Vec::new()), Quantiles { p50: 0.0, p99: 0.0, max: 0.0 });
    }

    #[test]
    fn a_rate_counts_only_if_all_below_it_were_held() {
        let steady = |per_second, held| Steady {
            per_second,
            latency_ms: Quantiles::of(Vec::new()),
            lateness_ms: Quantiles::of(Vec::new()),
            told_per_second: per_second,
            merged: 0.0,
            statements_an_update: 0.0,
            cpu: Cpu::default(),
            held,
        };
        assert_eq!(highest_held(&[steady(1.0, true), steady(2.0, true), steady(3.0, false)]), 2.0);
        assert_eq!(highest_held(&[steady(1.0, false), steady(2.0, true)]), 0.0);
        assert_eq!(highest_held(&[]), 0.0);
    }
}
