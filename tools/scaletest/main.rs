//! Puts the load of many peers on proxies, no matter who runs them, and checks that every peer was told what it must be told.
//!
//! [`run`] is what all runs have in common: a beginning, the phases of a scenario, and a cleanup; [`record`] is what it
//! leaves behind, on every way out. A subcommand is a scenario in a folder of its own.

mod cleanup;
mod common;
mod coordinate;
mod deadline;
mod figures;
mod files;
mod identities;
mod metrics;
mod network;
mod output;
mod record;
mod report;
mod run;
mod trace;
mod traffic;
mod who;

use std::{io::IsTerminal, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};
use tailnet_tools::program::{Progress, exit};
use tracing_subscriber::EnvFilter;

use crate::{cleanup::options::Cleanup, common::Logging, coordinate::options::Coordinate, traffic::options::Traffic};

/// Puts the load of many peers on the proxies of a tailnet, and checks what each of them was told.
#[derive(Debug, Parser)]
#[command(name = "tailnet-scaletest", version)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Coordinate(Coordinate),
    Traffic(Traffic),
    Cleanup(Cleanup),
}

impl Command {
    fn logging(&self) -> &Logging {
        match self {
            Self::Coordinate(options) => &options.common.logging,
            Self::Traffic(options) => &options.common.logging,
            Self::Cleanup(options) => &options.logging,
        }
    }

    async fn run(self, progress: Progress) -> Result<()> {
        match self {
            Self::Coordinate(options) => run::run(options, progress).await,
            Self::Traffic(options) => run::run(options, progress).await,
            Self::Cleanup(options) => cleanup::run(options, progress).await,
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let command = Options::parse().command;
    let progress = Progress::default();
    let filter: EnvFilter = command.logging().log.parse().expect("checked when the options were read");
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .with_writer(progress.clone())
        .init();
    exit("tailnet-scaletest", command.run(progress).await)
}
