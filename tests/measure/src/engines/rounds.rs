//! The rounds of one engine: saturated, at given rates, and with an eye on those without interest.

use std::time::Duration;

use anyhow::Result;

use crate::engines::{
    gauge::Work,
    load::{Load, Open},
    measured::{Bystanders, Measured, Rate, Saturated, highest_held},
    pairs::Pairs,
};

/// What is done in a round, and for how long.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Updates in flight when the engine is saturated.
    pub in_flight: usize,
    /// Before that is measured.
    pub warm_up: Duration,
    /// How long it is measured.
    pub saturated: Duration,
    /// In updates a second, ascending. An engine is given those that it can take, and the next one.
    pub rates: Vec<f64>,
    /// How long each is kept up.
    pub rate: Duration,
    /// How long updates go between two coordinators only.
    pub bystanders: Duration,
}

#[derive(Debug)]
pub struct Rounds {
    pub name: &'static str,
    pub saturated: Vec<Work>,
    what: String,
    load: Load,
    rates: Vec<(f64, Vec<Open>)>,
    bystanders: Vec<Work>,
}

impl Rounds {
    pub fn new(name: &'static str, what: String, load: Load) -> Self {
        Self { name, what, load, saturated: Vec::new(), rates: Vec::new(), bystanders: Vec::new() }
    }

    /// Does what autovacuum would do in the middle of a round.
    pub async fn vacuum(&self) -> Result<()> {
        self.load.vacuum().await
    }

    /// The engine saturated, which all ratios are made of.
    pub async fn saturate(&mut self, plan: &Plan) -> Result<()> {
        let all: Vec<usize> = (0..self.load.peers()).collect();
        let work = self.load.saturate(&all, plan.in_flight, plan.warm_up, plan.saturated).await?;
        eprintln!(
            "    {:.0} updates a second; for each {:.0} µs of CPU of Postgres, {:.0} µs of the driver, {:.4} statements",
            work.per_second(),
            work.postgres_us,
            work.driver_us,
            work.all_statements()
        );
        self.saturated.push(work);
        Ok(())
    }

    pub async fn go_on(&mut self, plan: &Plan, pairs: &Pairs) -> Result<()> {
        // The same in all rounds, so that each rate is measured as often.
        let capacity = self.saturated.first().map_or(0.0, Work::per_second);
        let above = plan.rates.iter().position(|rate| *rate > capacity).unwrap_or(plan.rates.len());
        for rate in plan.rates.iter().take(above + 1) {
            let open = self.load.at_rate(*rate, plan.rate).await?;
            let [p50, p99] = open.latencies.quantiles([50.0, 99.0]).map(|latency| latency.as_secs_f64() * 1e3);
            eprintln!("    at {rate:.0} a second: p50 {p50:.1} ms, p99 {p99:.1} ms");
            match self.rates.iter_mut().find(|(known, _)| known == rate) {
                Some((_, rounds)) => rounds.push(open),
                None => self.rates.push((*rate, vec![open])),
            }
        }
        let places = pairs.between_first_two();
        self.bystanders.push(self.load.saturate_and_settle(&places, plan.bystanders).await?);
        Ok(())
    }

    /// Checks what each peer was told, and removes the engine with its database.
    /// Fails when a view is wrong.
    pub async fn end(mut self) -> Result<Measured> {
        let checked = self.load.check().await?;
        let rates: Vec<_> = self.rates.iter().map(|(rate, rounds)| Rate::of(*rate, rounds)).collect();
        let measured = Measured {
            engine: self.name.to_owned(),
            what: self.what,
            connections: self.load.facts.connections,
            saturated: Saturated::of(&self.saturated, self.load.facts.listeners as f64),
            highest_rate_held: highest_held(&rates),
            rates,
            bystanders: (!self.bystanders.is_empty()).then(|| Bystanders::of(&self.bystanders)),
            checked,
        };
        self.load.end().await?;
        Ok(measured)
    }
}
