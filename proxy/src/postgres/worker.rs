//! The loop that all workers share: take a batch, call Postgres, give back what failed.

use std::{future::Future, hash::Hash, sync::Arc, time::Instant};

use tailnet_wire::{Chain, SessionId};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use crate::{
    batch::{
        batcher::{Batcher, Batching, Request},
        bisect::{CallError as _, Failure},
    },
    postgres::{backoff::Backoff, database::Database, store::Store, store_error::StoreError},
    state::switchboard::Switchboard,
};

/// What one kind of worker does with its batches.
pub trait Worker: Send + 'static {
    type Key: Copy + Eq + Hash + Send + Sync + 'static;
    type Request: Request + Send + 'static;
    /// Whether a call counts only under the current registration. The other calls need none, and do no harm when they are
    /// committed late or twice.
    const FENCED: bool = true;

    /// The session of a request and what the request does, for traces; None: it belongs to no connection.
    fn traced(_: &Self::Key, _: &Self::Request) -> Option<(SessionId, &'static str)> {
        None
    }

    /// Where its requests wait.
    fn batcher(switchboard: &Switchboard) -> &Batcher<Self::Key, Self::Request>;

    /// Calls Postgres and tells the switchboard what was done.
    fn run(
        &self,
        switchboard: &Switchboard,
        store: &mut Store,
        registration: Uuid,
        batch: Vec<(Self::Key, Self::Request)>,
    ) -> impl Future<Output = Outcome<Self::Key, Self::Request>> + Send;
}

/// What became of a batch.
#[derive(Debug)]
pub struct Outcome<K, R> {
    /// The requests to try again.
    pub failed: Vec<(K, R)>,
    /// Why calls failed.
    pub errors: Vec<StoreError>,
}

impl<K, R> Default for Outcome<K, R> {
    fn default() -> Self {
        Self { failed: Vec::new(), errors: Vec::new() }
    }
}

/// What all workers share.
#[derive(Debug, Clone)]
pub struct Workforce {
    pub switchboard: Arc<Switchboard>,
    /// Each worker has a connection of its own.
    pub database: Database,
    /// Ends the workers.
    pub stop: CancellationToken,
}

impl Workforce {
    /// Starts `count` workers of one kind.
    pub fn hire<W: Worker + Clone + Sync>(&self, worker: &W, count: usize, batching: Batching, tasks: &TaskTracker) {
        for _ in 0..count {
            let (worker, shared) = (worker.clone(), self.clone());
            let running = Running { worker, shared, batching, store: None, backoff: Backoff::default() };
            let stop = self.stop.clone();
            tasks.spawn(async move { stop.run_until_cancelled(running.work()).await });
        }
    }
}

/// The name of a kind of worker.
fn name<W: Worker>() -> &'static str {
    W::Request::WORKER
}

/// One worker.
struct Running<W> {
    worker: W,
    shared: Workforce,
    batching: Batching,
    store: Option<Store>,
    backoff: Backoff,
}

impl<W: Worker + Sync> Running<W> {
    async fn work(mut self) {
        let mut current = self.shared.switchboard.readiness.registration();
        loop {
            let registered = current.wait_for(|current| current.is_some() || !W::FENCED).await;
            let Ok(registration) = registered.map(|registration| registration.unwrap_or_default()) else { return };
            if let Err(error) = connect::<W>(&mut self.store, &self.shared.database).await {
                tracing::warn!(worker = name::<W>(), error = %Chain(&error), "no connection");
                self.backoff.wait().await;
                continue;
            }
            let batcher = W::batcher(&self.shared.switchboard);
            let batch = tokio::select! {
                batch = batcher.take(self.batching) => batch,
                // While there is no registration, requests wait and batches grow.
                _ = current.changed(), if W::FENCED => continue,
            };
            self.call(registration, batch).await;
        }
    }

    async fn call(&mut self, registration: Uuid, batch: Vec<(W::Key, W::Request)>) {
        let switchboard = Arc::clone(&self.shared.switchboard);
        let keys: Vec<_> = batch.iter().map(|(key, _)| *key).collect();
        let traced = batch.iter().filter_map(|(key, request)| W::traced(key, request));
        let mut carried = switchboard.traces.carry(name::<W>(), batch.len(), traced);
        let begun = Instant::now();
        let outcome = match connect::<W>(&mut self.store, &self.shared.database).await {
            Ok(store) => self.worker.run(&switchboard, store, registration, batch).await,
            Err(error) => Outcome { failed: batch, errors: vec![error] },
        };
        let failed = outcome.failed.iter().filter_map(|(key, request)| W::traced(key, request));
        let first: Option<&dyn std::error::Error> = outcome.errors.first().map(|error| error as _);
        carried.end(failed.map(|(id, _)| id), first);
        switchboard.metrics.batch(name::<W>(), keys.len(), outcome.errors.is_empty(), begun.elapsed());
        for error in &outcome.errors {
            tracing::warn!(worker = name::<W>(), error = %Chain(error), "call failed");
            match error.failure() {
                Failure::Retry | Failure::Refused => {}
                Failure::Unregistered => switchboard.readiness.doubt(registration),
                Failure::Unknown => {
                    self.store = None;
                    // The call may still be committed, after the calls that follow. Only a new registration fences it.
                    if W::FENCED {
                        switchboard.readiness.doubt(registration);
                    }
                }
            }
        }
        let succeeded = outcome.errors.is_empty();
        W::batcher(&switchboard).finish(keys, outcome.failed);
        switchboard.release_traces(carried);
        if succeeded {
            self.backoff.reset();
        } else {
            self.backoff.wait().await;
        }
    }
}

/// The worker's connection. Makes a new one when there is none, or when it is known to have ended.
async fn connect<'a, W: Worker>(
    store: &'a mut Option<Store>,
    database: &Database,
) -> Result<&'a mut Store, StoreError> {
    let open = match store.take().filter(|store| !store.is_closed()) {
        Some(open) => open,
        None => Store::connect(database, name::<W>()).await?,
    };
    Ok(store.insert(open))
}
