//! The benchmarks: the whole with tens of thousands of peers, the writes of agent connections and connection logs, and
//! the cost at the database.

mod common;
mod engines;
mod peers;
mod writes;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use tailnet_tools::program::{exit, or_stopped};
use tokio::runtime::Builder;

/// Measures pg_tailnet.
///
/// Each benchmark works on a private Postgres, whose settings it changes: tests/bench-run starts one, and removes it.
#[derive(Debug, Parser)]
#[command(name = "tailnet-bench", version)]
struct Options {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Debug, Subcommand)]
enum Benchmark {
    Peers(peers::options::Options),
    Writes(writes::options::Options),
    Engines(engines::options::Options),
    /// Hold peers, as stdin says
    #[command(hide = true)]
    Load,
}

fn main() -> ExitCode {
    exit("tailnet-bench", run(&Options::parse().benchmark))
}

fn run(benchmark: &Benchmark) -> Result<()> {
    let mut runtime = match benchmark {
        Benchmark::Load => return peers::load::run::run(),
        // One thread: it does little, and the cores are for others.
        Benchmark::Peers(_) => Builder::new_current_thread(),
        Benchmark::Writes(_) | Benchmark::Engines(_) => Builder::new_multi_thread(),
    };
    let runtime = runtime.enable_all().build().context("cannot start")?;
    runtime.block_on(async {
        match benchmark {
            Benchmark::Load => Ok(()),
            Benchmark::Peers(options) => peers::run::run(options).await,
            Benchmark::Writes(options) => or_stopped(writes::run::run(options)).await,
            Benchmark::Engines(options) => or_stopped(engines::run::run(options)).await,
        }
    })
}
