//! Puts the load of many peers on proxies, whoever runs them, and checks that every peer was told what it must be told.
//!
//! A run is identities, then phases (load, updates, check), then cleanup; [`record`] is what it leaves behind, on every
//! way out.

mod campaign;
mod check;
mod endings;
mod files;
mod hub;
mod identities;
mod load;
mod member;
mod options;
mod output;
mod pair;
mod progress;
mod record;
mod report;
mod updates;

use std::{io::IsTerminal, process::ExitCode};

use clap::{Parser, Subcommand};
use tailnet_tests::measure::latencies;
use tracing_subscriber::EnvFilter;

use crate::{options::Coordinate, progress::Progress};

/// Puts the load of many peers on the proxies of a tailnet, and checks what each of them was told.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Coordinate(Coordinate),
}

#[tokio::main]
async fn main() -> ExitCode {
    let Command::Coordinate(options) = Options::parse().command;
    let progress = Progress::new();
    let filter: EnvFilter = options.log.parse().expect("checked when the options were read");
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .with_writer(progress.clone())
        .init();
    match campaign::run(options, progress).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tailnet-scaletest: {error:#}");
            ExitCode::FAILURE
        }
    }
}
