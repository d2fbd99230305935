//! What ends a run before its end.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, sleep_until},
};

use crate::report::Ended;

/// Signals and `--timeout`.
#[derive(Debug)]
pub struct Endings {
    interrupt: Signal,
    terminate: Signal,
    deadline: Instant,
}

impl Endings {
    /// Begins to wait for them.
    ///
    /// # Errors
    /// When signals cannot be waited for.
    pub fn new(timeout: Duration) -> Result<Self> {
        let interrupt = signal(SignalKind::interrupt()).context("cannot wait for Ctrl-C")?;
        let terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
        // A time without end.
        let deadline =
            Instant::now().checked_add(timeout).unwrap_or_else(|| Instant::now() + Duration::from_secs(1 << 30));
        Ok(Self { interrupt, terminate, deadline })
    }

    /// The next of them.
    pub async fn next(&mut self) -> Ended {
        let deadline = self.deadline;
        tokio::select! {
            () = self.signal() => Ended::Cancelled,
            () = sleep_until(deadline) => Ended::TimedOut,
        }
    }

    /// The next signal.
    pub async fn signal(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
