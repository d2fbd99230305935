//! A benchmark that is stopped ends as one that fails: what it started ends with it.

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{SignalKind, signal};

/// The result of the work, unless SIGTERM or Ctrl-C comes first. What is dropped then ends its processes.
pub async fn or_stopped<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for Ctrl-C")?;
    tokio::select! {
        done = work => done,
        _ = terminate.recv() => bail!("stopped"),
        _ = interrupt.recv() => bail!("stopped"),
    }
}
