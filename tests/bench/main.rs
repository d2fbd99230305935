//! Measures the whole: 32,000 peers on two real proxies and a Postgres with its default settings.

mod clock;
mod control;
mod cpu;
mod fleet;
mod load;
mod memory;
mod node;
mod statements;
mod storm;
mod updates;
mod world;

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use tailnet_tests::harness::private_cluster::PrivateCluster;
use tokio::signal::unix::{SignalKind, signal};

/// Measures what docs/performance.md says, on a private cluster: "make bench" starts and removes one.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    #[command(subcommand)]
    load: Option<Mode>,
    /// The cluster of tests/cluster to work on; it runs already
    #[arg(long, default_value = "bench")]
    cluster: String,
    /// Pairs of an agent and a client
    #[arg(long, default_value_t = 16_000)]
    pairs: usize,
    /// Only these parts, separated by commas
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum Mode {
    /// Hold peers, as stdin says
    #[command(hide = true)]
    Load,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match options.load {
        Some(Mode::Load) => load::run(),
        None => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start")
            .and_then(|runtime| runtime.block_on(measure(&options))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(options: &Options) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for Ctrl-C")?;
    // What is dropped ends its processes.
    tokio::select! {
        done = phases(options) => done,
        _ = terminate.recv() => bail!("stopped"),
        _ = interrupt.recv() => bail!("stopped"),
    }
}

async fn phases(options: &Options) -> Result<()> {
    let cluster = PrivateCluster::existing(&options.cluster).await?;
    let mut world = world::World::create(&cluster, options.pairs).await?;
    let wants = |part: &str| options.only.is_empty() || options.only.iter().any(|only| only == part);
    let before = world.memory()?;
    let storm = storm::run(&mut world).await?;
    println!("storm: {:.2} s, {:.3} statements a peer", storm.seconds, storm.statements.all as f64 / world.peers as f64);
    println!("  cpu {} over {:.2} s", storm.cpu, storm.cpu.seconds);
    for (text, calls) in &storm.statements.by_text {
        println!("  {calls:6} {}", text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(110).collect::<String>());
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    if wants("idle") {
        let (cpu, span) = (world.cpu()?, Duration::from_secs(30));
        tokio::time::sleep(span).await;
        println!("idle: {}", world.cpu()?.since(&cpu));
    }
    if wants("memory") {
        for ((proxy, before), after) in world.proxies.iter().zip(&before).zip(world.memory()?) {
            println!("memory {}: rss {:.1} KiB a peer ({} -> {} MiB), without subtraction {:.1}; pss {:.1}", proxy.name(),
                (after.rss - before.rss) as f64 / 1024.0 / options.pairs as f64, before.rss >> 20, after.rss >> 20,
                after.rss as f64 / 1024.0 / options.pairs as f64,
                (after.pss - before.pss) as f64 / 1024.0 / options.pairs as f64);
        }
    }
    if wants("updates") {
        for per_second in [1000.0, 5000.0, 5000.0, 7500.0, 10_000.0] {
            let rate = fleet::Rate { per_second, unmeasured: Duration::from_secs(2), measured: Duration::from_secs(10) };
            let updates = updates::run(&mut world, rate, 1).await?;
            println!("{updates:?}");
        }
    }
    println!("{:?}", world.fleet.totals().await?);
    world.remove().await
}
