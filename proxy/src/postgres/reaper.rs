//! Ends what operators have taken away: the sessions of revoked peers, and tunnels that nothing allows any more.
//!
//! A function of an operator only writes down what is to end (see `sql/pending.sql`). Each proxy asks for it again and again.
//! Of several proxies one works at a time, and any of them may die meanwhile.

use std::{convert::Infallible, time::Duration};

use tailnet_wire::Chain;
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

use crate::{
    observe::metrics::Metrics,
    postgres::{database::Database, store::Store, store_error::StoreError},
};

/// How often a proxy looks whether there is something to end. A call that finds nothing reads one page of an index.
const INTERVAL: Duration = Duration::from_millis(250);

/// Reaps for as long as a registration lasts. A call that fails is no doubt: it is tried again, and it does no harm when it
/// is committed twice.
pub async fn reap(database: &Database, registration: Uuid, metrics: &Metrics) -> Infallible {
    let mut store = None;
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        ticks.tick().await;
        match reap_all(&mut store, database, registration, metrics).await {
            Ok(()) => failing = false,
            Err(error) => {
                if !failing {
                    tracing::warn!(error = %Chain(&error), "cannot end what operators have taken away");
                }
                failing = true;
            }
        }
    }
}

/// Calls until nothing is left.
async fn reap_all(
    store: &mut Option<Store>,
    database: &Database,
    registration: Uuid,
    metrics: &Metrics,
) -> Result<(), StoreError> {
    let open = match store.take().filter(|store| !store.is_closed()) {
        Some(open) => open,
        None => Store::connect(database, "reaper").await?,
    };
    let store = store.insert(open);
    loop {
        let reaped = store.reap(registration).await?;
        if reaped == 0 {
            return Ok(());
        }
        metrics.reaped.inc_by(reaped);
    }
}
