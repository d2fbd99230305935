//! Where the cores go, by process.

use anyhow::Result;
use serde::Serialize;

use crate::{
    common::{
        process::{cpu, whole_machine},
        server::Server,
    },
    peers::clock::Moment,
};

/// The processes that are looked at.
#[derive(Debug, Clone)]
pub struct Processes {
    pub postgres: Server,
    pub proxies: Vec<u32>,
    pub loads: Vec<u32>,
}

/// Seconds of CPU, up to a moment or between two.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Cpu {
    #[serde(skip)]
    at: Moment,
    /// Of the time between the two moments.
    pub seconds: f64,
    /// All processes of Postgres together.
    pub postgres: f64,
    pub proxies: Vec<f64>,
    pub loads: Vec<f64>,
    /// All other processes of the machine: what disturbs the measurement.
    pub others: f64,
}

impl Processes {
    /// What they have used so far.
    pub fn cpu(&self) -> Result<Cpu> {
        let each = |pids: &[u32]| pids.iter().map(|pid| cpu(*pid)).collect::<Result<Vec<_>>>();
        let (postgres, proxies, loads) = (self.postgres.cpu()?, each(&self.proxies)?, each(&self.loads)?);
        let named = postgres + proxies.iter().chain(&loads).sum::<f64>();
        let others = whole_machine()? - named;
        Ok(Cpu { at: Moment::now(), seconds: 0.0, postgres, proxies, loads, others })
    }
}

impl Cpu {
    /// What was used after an earlier moment.
    pub fn since(&self, earlier: &Self) -> Self {
        let each = |now: &[f64], then: &[f64]| now.iter().zip(then).map(|(now, then)| now - then).collect();
        Self {
            at: self.at,
            seconds: self.at.since(earlier.at).as_secs_f64(),
            postgres: self.postgres - earlier.postgres,
            proxies: each(&self.proxies, &earlier.proxies),
            loads: each(&self.loads, &earlier.loads),
            others: self.others - earlier.others,
        }
    }
}

/// As shares of one core.
impl std::fmt::Display for Cpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let share = |seconds: f64| format!("{:.0}", seconds / self.seconds * 100.0);
        let each = |all: &[f64]| all.iter().map(|seconds| share(*seconds)).collect::<Vec<_>>().join(" + ");
        write!(
            f,
            "Postgres {} %, proxies {} %, load {} %, others {} % of a core",
            share(self.postgres),
            each(&self.proxies),
            each(&self.loads),
            share(self.others)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_difference_of_two_moments_is_what_happened_between_them() {
        let at = |used: f64| Cpu {
            postgres: used,
            proxies: vec![used, 2.0 * used],
            loads: vec![0.0],
            others: used,
            ..Cpu::default()
        };
        let between = at(3.0).since(&at(1.0));
        assert_eq!(
            (between.postgres, between.proxies, between.loads, between.others),
            (2.0, vec![2.0, 4.0], vec![0.0], 2.0)
        );
    }
}
