//! When `--timeout` is over.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

const NEVER: Duration = Duration::from_secs(1 << 30);

/// Shared by the run and by what waits for it.
#[derive(Debug, Clone)]
pub struct Deadline(watch::Sender<Instant>);

impl Deadline {
    /// So long from now.
    pub fn new(timeout: Duration) -> Self {
        Self(watch::Sender::new(Instant::now() + timeout))
    }

    /// It does not count any more: what is under way then ends by itself. Returns when it would have been.
    pub fn lift(&self) -> Instant {
        self.0.send_replace(Instant::now() + NEVER)
    }

    /// Returns then.
    pub async fn passed(&self) {
        let mut changes = self.0.subscribe();
        loop {
            let at = *changes.borrow_and_update();
            tokio::select! {
                () = sleep_until(at) => return,
                changed = changes.changed() => changed.expect("it has a sender itself"),
            }
        }
    }
}
