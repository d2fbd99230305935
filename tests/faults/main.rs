//! Proves by faults that nothing is lost: real proxies and a real Postgres with a standby fail in turn while hundreds of
//! peers work, and after each round every view is right, no peer was told anything wrong, and nothing has leaked.
//!
//! A round: the fleet works, one or two faults are injected and healed, the fleet rests, and everything is looked at.
//! The seed decides what peers do and which faults come, but not how these meet in time.

mod actor;
mod campaign;
mod effects;
mod fault;
mod fleet;
mod inject;
mod leaks;
mod options;
mod postgres;
mod slot;
mod tally;
mod verdict;
mod world;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser as _;
use tailnet_tools::program::{exit, or_stopped};

use crate::{campaign::Campaign, options::Options};

#[tokio::main]
async fn main() -> ExitCode {
    exit("faults", run(Options::parse()).await)
}

async fn run(options: Options) -> Result<()> {
    if options.kinds().is_empty() {
        bail!("no kind of fault is left to choose from");
    }
    // What is dropped ends its processes and removes its clusters.
    or_stopped(Campaign::run(options)).await
}
