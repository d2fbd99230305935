//! Measures the whole: 32,000 peers on two real proxies and a Postgres with its default settings.

mod campaign;
mod clock;
mod control;
mod cpu;
mod crash;
mod engines;
mod fleet;
mod hub;
mod idle;
mod listener;
mod load;
mod memory;
mod node;
mod options;
mod page;
mod plot;
mod report;
mod statements;
mod storm;
mod target;
mod updates;
mod world;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use tailnet_measure::progress::Progress;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    options::{Mode, Options},
    report::Report,
};

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match options.mode {
        Some(Mode::Load) => load::run(),
        // One thread: it does little, and the cores are for others.
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

/// A run that fails or is stopped keeps what it has measured, but does not become the documentation.
async fn measure(options: &Options) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for Ctrl-C")?;
    let (mut report, progress) = (Report::default(), Progress::new(campaign::steps(options)));
    // What is dropped ends its processes.
    let done = tokio::select! {
        done = campaign::run(options, &mut report, &progress) => done,
        _ = terminate.recv() => Err(anyhow::anyhow!("stopped")),
        _ = interrupt.recv() => Err(anyhow::anyhow!("stopped")),
    };
    progress.finish();
    if report.storms.is_empty() && report.engines.is_none() {
        return done.and_then(|()| bail!("nothing was measured"));
    }
    report.write_json(&options.json)?;
    print!("{}", page::summary(&report));
    eprintln!("written: {}", options.json.display());
    done?;
    if options.is_full() {
        page::write(&report, &options.clone)
    } else {
        plot::write(&report, options.json.parent().unwrap_or(&options.clone))
    }
}
