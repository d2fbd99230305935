//! The options of the program.

use std::time::Duration;

use clap::{Parser, ValueEnum as _};

use crate::fault::Kind;

/// Injects faults into real proxies and a real Postgres while peers work, and checks after each round that every view is
/// right. "make faults" runs it, and removes its clusters however it ends.
#[derive(Debug, Clone, Parser)]
#[command(version)]
pub struct Options {
    /// Which work is done and which faults come [default: a random one, which is printed]
    #[arg(long, env = "SEED")]
    pub seed: Option<u64>,
    /// How many rounds
    #[arg(long, env = "ROUNDS", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// How many peers
    #[arg(long, env = "PEERS", default_value_t = 200, value_parser = clap::value_parser!(u32).range(10..))]
    pub peers: u32,
    /// Only these faults, separated by commas [default: all]
    #[arg(long, env = "FAULTS", value_enum, value_delimiter = ',')]
    faults: Vec<Kind>,
    /// Not these faults
    #[arg(long, env = "WITHOUT", value_enum, value_delimiter = ',')]
    without: Vec<Kind>,
    /// How long after the end of a fault everything must be right again
    #[arg(long, env = "CONVERGE_DEADLINE", default_value = "60s", value_parser = humantime::parse_duration)]
    pub converge_deadline: Duration,
    /// The names of the clusters begin with this
    #[arg(long, default_value = "faults")]
    pub cluster_prefix: String,
}

impl Options {
    pub fn kinds(&self) -> Vec<Kind> {
        let all = if self.faults.is_empty() { Kind::value_variants() } else { &self.faults };
        all.iter().copied().filter(|kind| !self.without.contains(kind)).collect()
    }

    /// The command that does the same again.
    pub fn command(&self, seed: u64) -> String {
        let names = |kinds: &[Kind]| kinds.iter().map(Kind::to_string).collect::<Vec<_>>().join(",");
        let mut command = format!("make faults SEED={seed} ROUNDS={} PEERS={}", self.rounds, self.peers);
        for (variable, kinds) in [("FAULTS", &self.faults), ("WITHOUT", &self.without)] {
            if !kinds.is_empty() {
                command += &format!(" {variable}={}", names(kinds));
            }
        }
        command
    }
}
