//! The loop that all roles share: take a batch, call Postgres, give back what failed.

use std::{future::Future, hash::Hash, sync::Arc, time::Instant};

use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use crate::{
    backoff::Backoff,
    batcher::{Batcher, Batching, Request},
    bisect::{Failure as _, Fault},
    chain::Chain,
    database::Database,
    hub::Hub,
    id::SessionId,
    store::{Store, StoreError},
};

/// What a role does with its batches.
pub trait Role: Send + 'static {
    /// What its requests are kept by.
    type Key: Copy + Eq + Hash + Send + Sync + 'static;
    /// Its requests.
    type Request: Request + Send + 'static;
    /// Its name in logs, metrics and `application_name`.
    const NAME: &'static str;
    /// Whether a call counts only under the current registration. Others need none, and do no harm when they are
    /// committed late or twice.
    const FENCED: bool = true;

    /// Whose request it is and what it does, for traces; None: it is no request of a connection.
    fn traced(_: &Self::Key, _: &Self::Request) -> Option<(SessionId, &'static str)> {
        None
    }

    /// Where its requests wait.
    fn batcher(hub: &Hub) -> &Batcher<Self::Key, Self::Request>;

    /// Calls Postgres and tells the hub of what was done.
    fn run(
        &self,
        hub: &Hub,
        store: &mut Store,
        registration: Uuid,
        batch: Vec<(Self::Key, Self::Request)>,
    ) -> impl Future<Output = Outcome<Self::Key, Self::Request>> + Send;
}

/// What became of a batch.
#[derive(Debug)]
pub struct Outcome<K, R> {
    /// What is to be tried again.
    pub failed: Vec<(K, R)>,
    /// Why.
    pub errors: Vec<StoreError>,
}

impl<K, R> Default for Outcome<K, R> {
    fn default() -> Self {
        Self { failed: Vec::new(), errors: Vec::new() }
    }
}

/// What all workers are given.
#[derive(Debug, Clone)]
pub struct Workshop {
    /// The shared state.
    pub hub: Arc<Hub>,
    /// Each worker has a connection of its own.
    pub database: Database,
    /// Ends the workers.
    pub stop: CancellationToken,
}

impl Workshop {
    /// Starts the workers of a role.
    pub fn hire<R: Role + Clone + Sync>(&self, role: &R, workers: usize, batching: Batching, tasks: &TaskTracker) {
        for _ in 0..workers {
            let (role, shop) = (role.clone(), self.clone());
            let worker = Worker { role, shop, batching, store: None, backoff: Backoff::default() };
            let stop = self.stop.clone();
            tasks.spawn(async move { stop.run_until_cancelled(worker.work()).await });
        }
    }
}

struct Worker<R> {
    role: R,
    shop: Workshop,
    batching: Batching,
    store: Option<Store>,
    backoff: Backoff,
}

impl<R: Role + Sync> Worker<R> {
    async fn work(mut self) {
        let mut current = self.shop.hub.readiness.registration();
        loop {
            let registered = current.wait_for(|current| current.is_some() || !R::FENCED).await;
            let Ok(registration) = registered.map(|registration| registration.unwrap_or_default()) else { return };
            if let Err(error) = connect::<R>(&mut self.store, &self.shop.database).await {
                tracing::warn!(role = R::NAME, error = %Chain(&error), "no connection");
                self.backoff.wait().await;
                continue;
            }
            let batcher = R::batcher(&self.shop.hub);
            let batch = tokio::select! {
                batch = batcher.take(self.batching) => batch,
                // Requests wait, and grow together, while there is no registration.
                _ = current.changed(), if R::FENCED => continue,
            };
            self.call(registration, batch).await;
        }
    }

    async fn call(&mut self, registration: Uuid, batch: Vec<(R::Key, R::Request)>) {
        let hub = Arc::clone(&self.shop.hub);
        let keys: Vec<_> = batch.iter().map(|(key, _)| *key).collect();
        let mut carried = hub.traces.carry::<R>(&batch);
        let begun = Instant::now();
        let outcome = match connect::<R>(&mut self.store, &self.shop.database).await {
            Ok(store) => self.role.run(&hub, store, registration, batch).await,
            Err(error) => Outcome { failed: batch, errors: vec![error] },
        };
        carried.end::<R>(&outcome);
        hub.metrics.batch(R::NAME, keys.len(), outcome.errors.is_empty(), begun.elapsed());
        for error in &outcome.errors {
            tracing::warn!(role = R::NAME, error = %Chain(error), "call failed");
            match error.fault() {
                Fault::Failed | Fault::Refused => {}
                Fault::Unregistered => hub.readiness.doubt(registration),
                Fault::Unknown => {
                    self.store = None;
                    // It may still be committed, after what comes next: only a new registration fences it.
                    if R::FENCED {
                        hub.readiness.doubt(registration);
                    }
                }
            }
        }
        R::batcher(&hub).finish(keys, outcome.failed);
        hub.settle(carried);
        if outcome.errors.is_empty() {
            self.backoff.reset();
        } else {
            self.backoff.wait().await;
        }
    }
}

/// The worker's connection; a new one, when there is none or it is known to have ended.
async fn connect<'a, R: Role>(store: &'a mut Option<Store>, database: &Database) -> Result<&'a mut Store, StoreError> {
    let open = match store.take().filter(|store| !store.is_closed()) {
        Some(open) => open,
        None => Store::connect(database, R::NAME).await?,
    };
    Ok(store.insert(open))
}
