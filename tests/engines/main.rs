//! Measures what the extension costs at the database, against the prior design and against itself.

mod caller;
mod crowd;
mod engine;
mod extension;
mod fan_out;
mod gauge;
mod hub;
mod load;
mod node;
mod options;
mod pairs;
mod replica;
mod replicas;
mod size;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use tailnet_tests::measure::progress::Progress;
use tokio::signal::unix::{SignalKind, signal};

use crate::options::{Command, Options};

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    match measure(&options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tailnet-engines: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(options: &Options) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for Ctrl-C")?;
    tokio::select! {
        done = command(options) => done,
        _ = terminate.recv() => bail!("stopped"),
        _ = interrupt.recv() => bail!("stopped"),
    }
}

async fn command(options: &Options) -> Result<()> {
    let (progress, quick) = (Progress::new(0), options.quick);
    match &options.command {
        Command::FanOut(fan_out) => print(&fan_out::run(fan_out, quick, &progress).await?),
        Command::Size(size) => print(&size::run(size, quick, &progress).await?),
        Command::Hub => print(&hub::run(quick, &progress).await?),
        Command::All => bail!("todo"),
    }
}

fn print(found: &impl serde::Serialize) -> Result<()> {
    println!("{}", serde_json::to_string_pretty(found)?);
    Ok(())
}
