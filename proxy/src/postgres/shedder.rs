//! Sends peers to other proxies when Postgres stays away from this one: another proxy may still reach it.
//!
//! It does so slowly, so that all these peers do not storm the other proxies. It does so only after a grace time: a restart
//! or a failover of Postgres is over sooner, and all proxies would shed at once.

use std::{sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::state::switchboard::Switchboard;

/// It takes about this time to shed all peers of a proxy.
const SHED_TIME: Duration = Duration::from_secs(30);

/// The time between two small groups of peers.
const STEP: Duration = Duration::from_millis(100);

/// Watches over one proxy.
#[derive(Debug)]
pub struct Shedder {
    switchboard: Arc<Switchboard>,
    grace: Duration,
}

impl Shedder {
    /// Sheds the peers of this switchboard when Postgres was away for longer than the grace time.
    pub fn new(switchboard: Arc<Switchboard>, grace: Duration) -> Self {
        Self { switchboard, grace }
    }

    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.watch()).await;
    }

    async fn watch(self) {
        let mut connected = self.switchboard.readiness.connected();
        loop {
            // The switchboard owns the sender, so there always is one.
            let away = async { connected.wait_for(|connected| !connected).await.is_ok() };
            if !away.await {
                return;
            }
            if timeout(self.grace, connected.wait_for(|connected| *connected)).await.is_ok() {
                continue;
            }
            let sessions = self.switchboard.sessions();
            if sessions > 0 {
                tracing::warn!(grace = ?self.grace, sessions, "Postgres stays away: shedding peers");
            }
            // If Postgres comes back while shedding, keep the remaining sessions.
            tokio::select! {
                _ = connected.wait_for(|connected| *connected) => {}
                () = self.shed(sessions) => {}
            }
            // No session is taken until Postgres is back, so there is nothing more to shed.
            if connected.wait_for(|connected| *connected).await.is_err() {
                return;
            }
        }
    }

    async fn shed(&self, sessions: usize) {
        let steps = SHED_TIME.as_millis() / STEP.as_millis();
        let group = sessions.div_ceil(usize::try_from(steps).expect("a few hundred"));
        while self.switchboard.shed(group) > 0 {
            sleep(STEP).await;
        }
    }
}
