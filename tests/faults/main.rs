//! Proves by faults that nothing is lost: real proxies and a real Postgres with a standby fail in turn while hundreds of
//! peers work, and after each round the oracle finds every view right, nobody told what was not so, and nothing leaked.
//!
//! A round: the fleet works, one or two faults are injected and healed, the fleet rests, and everything is looked at.
//! What is done and which faults come follows from the seed; how they meet in time does not.

mod actor;
mod campaign;
mod effects;
mod fault;
mod fleet;
mod inject;
mod leaks;
mod postgres;
mod progress;
mod slot;
mod tally;
mod verdict;
mod world;

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum as _};
use tokio::signal::unix::{SignalKind, signal};

use crate::{campaign::Campaign, fault::Kind};

/// Injects faults into real proxies and a real Postgres while peers work, and checks after each round that every view is
/// right. "make faults" runs it, and removes its clusters however it ends.
#[derive(Debug, Clone, Parser)]
#[command(version)]
pub struct Options {
    /// Which work is done and which faults come [default: a random one, which is printed]
    #[arg(long, env = "SEED")]
    seed: Option<u64>,
    /// How many rounds
    #[arg(long, env = "ROUNDS", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How many peers
    #[arg(long, env = "PEERS", default_value_t = 200, value_parser = clap::value_parser!(u32).range(10..))]
    peers: u32,
    /// Only these faults, separated by commas [default: all]
    #[arg(long, env = "FAULTS", value_enum, value_delimiter = ',')]
    faults: Vec<Kind>,
    /// Not these faults
    #[arg(long, env = "WITHOUT", value_enum, value_delimiter = ',')]
    without: Vec<Kind>,
    /// How long after the end of a fault everything must be right again
    #[arg(long, env = "CONVERGE_DEADLINE", default_value = "60s", value_parser = humantime::parse_duration)]
    converge_deadline: Duration,
    /// The names of the clusters begin with this
    #[arg(long, default_value = "faults")]
    cluster_prefix: String,
}

impl Options {
    fn kinds(&self) -> Vec<Kind> {
        let all = if self.faults.is_empty() { Kind::value_variants() } else { &self.faults };
        all.iter().copied().filter(|kind| !self.without.contains(kind)).collect()
    }

    /// The command that does the same again.
    fn command(&self, seed: u64) -> String {
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

#[tokio::main]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("faults: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<()> {
    if options.kinds().is_empty() {
        bail!("no kind of fault is left to choose from");
    }
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for Ctrl-C")?;
    // What is dropped ends its processes and removes its clusters.
    tokio::select! {
        done = Campaign::run(options) => done,
        _ = terminate.recv() => bail!("stopped"),
        _ = interrupt.recv() => bail!("stopped"),
    }
}
