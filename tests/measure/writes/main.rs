//! Measures the two write loads, agent connections and connection logs, on a real Postgres with default durability.

mod beats;
mod contest;
mod events;
mod fleet;
mod heartbeats;
mod history;
mod holder;
mod logs;
mod report;
mod steady;
mod world;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use tailnet_measure::{machine::Machine, progress::Progress, section};
use tokio::signal::unix::{SignalKind, signal};

use crate::{report::Report, world::World};

/// Measures how agent connections and connection logs are written and read. TAILNET_TEST_DATABASE_URL is the superuser's
/// URL of a private Postgres with pg_tailnet; its settings are changed: "make bench-writes" starts and removes one.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    #[command(subcommand)]
    load: Option<Load>,
    /// How often each method is measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..))]
    rounds: u8,
    /// Markdown file that gets the figures as a section
    #[arg(long, value_name = "FILE", default_value = "docs/performance.md")]
    markdown: PathBuf,
    /// File that gets them as JSON
    #[arg(long, value_name = "FILE", default_value = ".data/out/bench-writes.json")]
    json: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Load {
    /// Measure the ways to write connection logs only, and print the figures as JSON
    Logs,
    /// Observe 32,000 real agents on two real proxies only, and print the figures as JSON
    Fleet,
    /// Hold a websocket for each token on stdin
    #[command(hide = true)]
    Hold {
        #[arg(long)]
        url: String,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let done = match &options.load {
        Some(Load::Hold { url }) => holder::hold(url).await,
        Some(Load::Logs | Load::Fleet) | None => measure(&options).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-writes: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(options: &Options) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for Ctrl-C")?;
    // What is dropped ends its processes.
    tokio::select! {
        done = async {
            match options.load {
                Some(Load::Logs) => logs_only(options).await,
                Some(Load::Fleet) => fleet_only().await,
                _ => phases(options).await,
            }
        } => done,
        _ = terminate.recv() => bail!("stopped"),
        _ = interrupt.recv() => bail!("stopped"),
    }
}

async fn logs_only(options: &Options) -> Result<()> {
    let rounds = usize::from(options.rounds);
    let progress = Progress::new(contest::steps(rounds, logs::WAYS.len()));
    progress.phase("a network with 32,000 agents");
    let world = World::create().await?;
    progress.phase("connection logs");
    let entries = logs::run(&world, &progress, rounds).await?;
    progress.finish();
    println!("{}", serde_json::to_string_pretty(&entries)?);
    world.database.drop().await
}

async fn fleet_only() -> Result<()> {
    let progress = Progress::new(fleet::STEPS);
    progress.phase("a network with 32,000 agents");
    let world = World::create().await?;
    progress.phase("real agents on real proxies");
    let fleet = fleet::run(&world, &progress).await?;
    progress.finish();
    println!("{}", serde_json::to_string_pretty(&fleet)?);
    world.database.drop().await
}

async fn phases(options: &Options) -> Result<()> {
    let rounds = usize::from(options.rounds);
    let steps = contest::steps(rounds, heartbeats::WAYS.len()) + contest::steps(rounds, logs::WAYS.len());
    let progress = Progress::new(steps + 2 * steady::BEATS as usize + history::STEPS + fleet::STEPS);
    progress.phase("a network with 32,000 agents");
    let world = World::create().await?;
    let machine = Machine::look(&world.meter).await?;
    progress.phase("heartbeats");
    let heartbeats = heartbeats::run(&world, &progress, rounds).await?;
    progress.phase("connection logs");
    let logs = logs::run(&world, &progress, rounds).await?;
    progress.phase("steady state at the database");
    // So that autovacuum has nothing left to do for the phases before.
    world.meter.sql.batch_execute("VACUUM (ANALYZE)").await?;
    let steady = [steady::run(&world, &progress, false).await?, steady::run(&world, &progress, true).await?];
    progress.phase("ten million connections");
    let history = history::run(&world, &progress).await?;
    let mut report = Report { machine, rounds, heartbeats, logs, steady, history, fleet: None };
    // The fleet needs most of the machine: what is measured by now is kept whatever becomes of it.
    write(options, &report)?;
    progress.phase("32,000 agents on two proxies");
    report.fleet = fleet::run(&world, &progress).await?;
    progress.finish();
    write(options, &report)?;
    eprintln!("written: {} and {}", options.markdown.display(), options.json.display());
    world.database.drop().await
}

fn write(options: &Options, report: &Report) -> Result<()> {
    section::write(&options.markdown, "bench-writes", &report.to_string())?;
    report.write_json(&options.json)
}
