//! Where sessions, the log and the workers meet.
//!
//! One lock guards the fold. What a session asks for is noted in the fold and pushed to a batcher under that lock, so both
//! see the requests in one order. Nothing is awaited here, but for the end of all requests.
//!
//! What can be asked of the switchboard, by who asks:
//!
//! - `sessions`: a session begins, announces its node, ends; a token is checked
//! - `tunnels`: tunnels are opened and closed, handshakes go out after them
//! - `agents`: agents are heard, and report their connections
//! - `maps`: what a peer is told of the DERP map of its network
//! - `log`: a registration begins, events are folded
//! - `restores`: what a worker reads and tells when it restores sessions
//! - `tracing`: traces are held until the last request of their session is done

mod agents;
mod log;
mod maps;
mod restores;
mod sessions;
mod tracing;
mod tunnels;

use std::sync::{Arc, Mutex, MutexGuard, atomic::AtomicU64};

use tailnet_wire::SessionId;
use tokio::sync::{Semaphore, oneshot};
use uuid::Uuid;

use crate::{
    batch::{
        batcher::{Batcher, Request},
        request::{
            AgentState, BinderRequest, HandshakerRequest, QuerierRequest, Question, ReportRequest, Sighting,
            TunnelerRequest,
        },
        restoring::Restoration,
    },
    message::ask::MAX_REPORTS,
    observe::{metrics::Metrics, traces::Traces},
    state::{derp_maps::DerpMaps, fold::Fold, outbox::Outbox, readiness::Readiness},
};

/// The state of a proxy, shared by all its tasks.
#[derive(Debug)]
pub struct Switchboard {
    /// The id of this coordinator, for as long as the process lives.
    pub coordinator: Uuid,
    fold: Mutex<Fold>,
    /// What waits for the binder, by session.
    pub binder: Batcher<SessionId, BinderRequest>,
    /// What waits for the tunneler, by session and other end.
    pub tunneler: Batcher<(SessionId, Uuid), TunnelerRequest>,
    /// What waits for the handshaker, by session and other peer.
    pub handshaker: Batcher<(SessionId, Uuid), HandshakerRequest>,
    /// What waits for the querier.
    pub querier: Batcher<Question, QuerierRequest>,
    /// What waits for the liveness worker, by agent.
    pub liveness: Batcher<Uuid, Sighting>,
    /// What waits for the describer, by agent.
    pub describer: Batcher<Uuid, AgentState>,
    /// What waits for the reporter, by the order of arrival.
    pub reporter: Batcher<u64, ReportRequest>,
    /// Room for reports that wait.
    pub room: Arc<Semaphore>,
    /// The traces of connections.
    pub traces: Traces,
    /// What the admin listener shows.
    pub metrics: Metrics,
    /// Whether new sessions are taken.
    pub readiness: Readiness,
    /// Whether all sessions are restored.
    pub restoration: Restoration,
    /// The DERP maps of the networks whose peers are here.
    pub derp_maps: DerpMaps,
    /// Numbers the questions about tokens.
    questions: AtomicU64,
    /// Numbers the reports.
    reports: AtomicU64,
}

/// A session that has begun.
#[derive(Debug)]
pub struct Joined {
    /// What is to be delivered to the peer.
    pub outbox: Arc<Outbox>,
    /// Told when Postgres knows of the session. Dropped when the session ends before.
    pub attached: oneshot::Receiver<()>,
}

impl Default for Switchboard {
    /// With room for the reports of one ask.
    fn default() -> Self {
        Self::new(MAX_REPORTS)
    }
}

impl Switchboard {
    /// A switchboard without sessions. `room` is the number of reports that may wait.
    pub fn new(room: usize) -> Self {
        let metrics = Metrics::default();
        Self {
            coordinator: Uuid::new_v4(),
            fold: Mutex::default(),
            binder: batcher(&metrics),
            tunneler: batcher(&metrics),
            handshaker: batcher(&metrics),
            querier: batcher(&metrics),
            liveness: batcher(&metrics),
            describer: batcher(&metrics),
            reporter: batcher(&metrics),
            room: Arc::new(Semaphore::new(room)),
            readiness: Readiness::new(metrics.ready.clone()),
            metrics,
            traces: Traces::default(),
            restoration: Restoration::default(),
            derp_maps: DerpMaps::default(),
            questions: AtomicU64::default(),
            reports: AtomicU64::default(),
        }
    }

    /// Takes no more sessions, and writes sightings and reports without waiting for more of them. From now on the end of a
    /// session is not written: the end of the registration will end all of them in one call.
    pub fn drain(&self) {
        self.readiness.drain();
        self.liveness.drain();
        self.describer.drain();
        self.reporter.drain();
    }

    /// Waits until no request of a session waits and none is in flight.
    pub async fn idle(&self) {
        // In this order: the last request of the binder may wake the tunneler, and both may wake the handshaker.
        self.binder.idle().await;
        self.tunneler.idle().await;
        self.handshaker.idle().await;
    }

    /// Waits until all sightings and reports are written.
    pub async fn records_written(&self) {
        self.liveness.idle().await;
        self.describer.idle().await;
        self.reporter.idle().await;
    }

    fn lock(&self) -> MutexGuard<'_, Fold> {
        self.fold.lock().expect("no code panics with this lock held")
    }
}

fn batcher<K, R: Request>(metrics: &Metrics) -> Batcher<K, R> {
    Batcher::new(metrics.counts(R::WORKER))
}
