//! What an engine has used so far, and what a phase of it took for each update.

use std::{collections::BTreeMap, time::Instant};

use anyhow::Result;
use serde::Serialize;
use tokio_postgres::Client;

use crate::{
    common::{process::cpu, server::Server, statements::Statements},
    engines::engine::Facts,
};

/// Statements that are none of the kinds that the engine names.
const OTHER: &str = "other";

/// A superuser's look at one engine.
#[derive(Debug)]
pub struct Gauge {
    pub sql: Client,
    server: Server,
    kinds: &'static [(&'static str, &'static str)],
    roles: Vec<String>,
}

/// All that was used until a moment.
#[derive(Debug)]
pub struct Sample {
    pub at: Instant,
    /// Updates that were heard.
    pub heard: u64,
    postgres: f64,
    driver: f64,
    statements: Vec<BTreeMap<&'static str, i64>>,
    payloads: Vec<u64>,
}

/// What a phase took.
#[derive(Debug, Clone, Serialize)]
pub struct Work {
    pub seconds: f64,
    /// Updates that the partners' coordinators had in hand.
    pub heard: u64,
    /// Microseconds of CPU of all processes of Postgres, for each update.
    pub postgres_us: f64,
    /// The same of this program, which makes the load and is all coordinators.
    pub driver_us: f64,
    /// Statements that clients sent, by kind, for each update.
    pub statements: BTreeMap<&'static str, f64>,
    /// The same of each coordinator, all kinds together.
    pub statements_by_coordinator: Vec<f64>,
    /// Payloads of notifications that each coordinator received, for each update.
    pub payloads_by_coordinator: Vec<f64>,
}

impl Gauge {
    pub async fn open(facts: &Facts) -> Result<Self> {
        let sql = facts.database.connect().await?;
        let roles = facts.database.logins().iter().map(|login| login.role.clone()).collect();
        Ok(Self { server: Server::of(&sql).await?, sql, kinds: facts.kinds, roles })
    }

    /// Looks now.
    /// Fails when `pg_stat_statements` is not preloaded.
    pub async fn sample(&self, payloads: Vec<u64>, heard: u64) -> Result<Sample> {
        let (at, postgres, driver) = (Instant::now(), self.server.cpu()?, cpu(std::process::id())?);
        let mut statements = vec![BTreeMap::new(); self.roles.len()];
        let counted = Statements::count(&self.sql).await?;
        for (role, statements) in self.roles.iter().zip(&mut statements) {
            for (text, calls) in counted.of(role) {
                let kind = self.kinds.iter().find(|(_, part)| text.contains(part)).map_or(OTHER, |(kind, _)| kind);
                *statements.entry(kind).or_default() += calls;
            }
        }
        Ok(Sample { at, heard, postgres, driver, statements, payloads })
    }
}

impl Work {
    /// Updates that were heard each second.
    pub fn per_second(&self) -> f64 {
        self.heard as f64 / self.seconds
    }

    /// Microseconds of CPU for each update, of Postgres and driver.
    pub fn all_us(&self) -> f64 {
        self.postgres_us + self.driver_us
    }

    /// Statements for each update, of all kinds.
    pub fn all_statements(&self) -> f64 {
        self.statements.values().sum()
    }
}

impl Sample {
    /// What was used from this one until `after`.
    pub fn until(&self, after: &Self) -> Work {
        let heard = after.heard - self.heard;
        let each = |amount: f64| amount / (heard.max(1) as f64);
        let (mut statements, mut by_coordinator) = (BTreeMap::new(), Vec::new());
        for (before, after) in self.statements.iter().zip(&after.statements) {
            let mut sum = 0.0;
            for (kind, calls) in after {
                let calls = each((calls - before.get(kind).unwrap_or(&0)) as f64);
                *statements.entry(*kind).or_default() += calls;
                sum += calls;
            }
            by_coordinator.push(sum);
        }
        let payloads = self.payloads.iter().zip(&after.payloads).map(|(before, after)| each((after - before) as f64));
        Work {
            seconds: (after.at - self.at).as_secs_f64(),
            heard,
            postgres_us: each((after.postgres - self.postgres) * 1e6),
            driver_us: each((after.driver - self.driver) * 1e6),
            statements,
            statements_by_coordinator: by_coordinator,
            payloads_by_coordinator: payloads.collect(),
        }
    }
}
