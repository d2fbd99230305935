//! Measures what the extension costs at the database, against the prior design and against itself.

mod caller;
mod crowd;
mod engine;
mod extension;
mod fan_out;
mod gauge;
mod hub;
mod load;
mod measured;
mod node;
mod options;
mod pairs;
mod prior_sql;
mod replica;
mod replicas;
mod report;
mod rounds;
mod size;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use tailnet_measure::progress::Progress;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    options::{Command, Options},
    report::Report,
};

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
    let mut report = Report::begin(quick).await?;
    match &options.command {
        Command::FanOut(fan_out) => report.fan_out = Some(fan_out::run(fan_out, quick, &progress).await?),
        Command::Size(size) => report.size = Some(size::run(size, quick, &progress).await?),
        Command::Hub => report.hub = Some(hub::run(quick, &progress).await?),
        Command::All => {
            report.fan_out = Some(fan_out::run(&options::FanOut::default(), quick, &progress).await?);
            report.size = Some(size::run(&options::Size::default(), quick, &progress).await?);
            report.hub = Some(hub::run(quick, &progress).await?);
        }
    }
    progress.finish();
    println!("{}", serde_json::to_string_pretty(&report)?);
    Ok(())
}
