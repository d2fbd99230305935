//! Sheds peers when Postgres stays away: another proxy may still reach it.
//!
//! Slowly, so that the others are not stormed; and only after a grace time, because a restart or a failover of Postgres
//! is over sooner, and all proxies would shed at once.

use std::{sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::hub::Hub;

/// All peers of a proxy are shed within about this time.
const SHED_TIME: Duration = Duration::from_secs(30);

/// Between two small groups of them.
const STEP: Duration = Duration::from_millis(100);

/// Watches over one proxy.
#[derive(Debug)]
pub struct Shedder {
    hub: Arc<Hub>,
    grace: Duration,
}

impl Shedder {
    /// Sheds the peers of this hub when Postgres was away for longer than the grace time.
    pub fn new(hub: Arc<Hub>, grace: Duration) -> Self {
        Self { hub, grace }
    }

    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.watch()).await;
    }

    async fn watch(self) {
        let mut connected = self.hub.readiness.connected();
        loop {
            // The hub owns the sender, so there always is one.
            let away = async { connected.wait_for(|connected| !connected).await.is_ok() };
            if !away.await {
                return;
            }
            if timeout(self.grace, connected.wait_for(|connected| *connected)).await.is_ok() {
                continue;
            }
            let sessions = self.hub.sessions();
            if sessions > 0 {
                tracing::warn!(grace = ?self.grace, sessions, "Postgres stays away: shedding peers");
            }
            // Whoever is back in the middle of it keeps the rest.
            tokio::select! {
                _ = connected.wait_for(|connected| *connected) => {}
                () = self.shed(sessions) => {}
            }
            // Who waits while there are no sessions sheds nothing: none are taken until Postgres is back.
            if connected.wait_for(|connected| *connected).await.is_err() {
                return;
            }
        }
    }

    async fn shed(&self, sessions: usize) {
        let steps = SHED_TIME.as_millis() / STEP.as_millis();
        let group = sessions.div_ceil(usize::try_from(steps).expect("a few hundred"));
        while self.hub.shed(group) > 0 {
            sleep(STEP).await;
        }
    }
}
