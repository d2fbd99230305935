//! Where sessions, the log and the roles meet.
//!
//! One lock guards the fold. What a session asks for is noted in the fold and pushed to a batcher under that lock, so
//! both see requests in one order. Nothing is awaited here.

use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering},
};

use serde_json::value::RawValue;
use tailnet_wire::Event;
use tokio::sync::{Semaphore, oneshot};
use uuid::Uuid;

use crate::{
    batcher::Batcher,
    binder::Binder,
    close::Close,
    fold::Fold,
    frame::MAX_REPORTS,
    handshaker::Handshaker,
    heartbeater::{Heartbeat, Heartbeater},
    id::{Identity, SessionId},
    local::Standing,
    metrics::Metrics,
    outbox::Outbox,
    querier::Querier,
    readiness::Readiness,
    reporter::{Report, Reporter},
    request::{BinderRequest, HandshakerRequest, Permit, QuerierRequest, Question, Step, TunnelerRequest},
    restoring::Restoration,
    store::TokenHash,
    traces::Traces,
    tunneler::Tunneler,
    worker::Role as _,
};

/// The state of a proxy, shared by all its tasks.
#[derive(Debug)]
pub struct Hub {
    /// The id of this coordinator, for as long as the process lives.
    pub coordinator: Uuid,
    fold: Mutex<Fold>,
    /// Requests of the binder.
    pub binder: Batcher<SessionId, BinderRequest>,
    /// Requests of the tunneler.
    pub tunneler: Batcher<(SessionId, Uuid), TunnelerRequest>,
    /// Requests of the handshaker.
    pub handshaker: Batcher<(SessionId, Uuid), HandshakerRequest>,
    /// Requests of the querier.
    pub querier: Batcher<Question, QuerierRequest>,
    /// Connections of agents.
    pub heartbeater: Batcher<Uuid, Heartbeat>,
    /// Reports of agents.
    pub reporter: Batcher<u64, Report>,
    /// Room for reports.
    pub room: Arc<Semaphore>,
    /// The traces of connections.
    pub traces: Traces,
    /// What the admin listener shows.
    pub metrics: Metrics,
    /// Whether new sessions are taken.
    pub readiness: Readiness,
    /// Whether all sessions are restored.
    pub restoration: Restoration,
    questions: AtomicU64,
    /// Numbers the reports in the order of their arrival.
    pub reports: AtomicU64,
}

/// A session that has begun.
#[derive(Debug)]
pub struct Joined {
    /// What is to be written to it.
    pub outbox: Arc<Outbox>,
    /// Told when Postgres knows of it.
    pub attached: oneshot::Receiver<()>,
}

impl Default for Hub {
    /// With room for the reports of one frame.
    fn default() -> Self {
        Self::new(MAX_REPORTS)
    }
}

impl Hub {
    /// A hub without sessions, with room for so many reports.
    pub fn new(room: usize) -> Self {
        let metrics = Metrics::default();
        Self {
            coordinator: Uuid::new_v4(),
            fold: Mutex::default(),
            binder: Batcher::new(metrics.counts(Binder::NAME)),
            tunneler: Batcher::new(metrics.counts(Tunneler::NAME)),
            handshaker: Batcher::new(metrics.counts(Handshaker::NAME)),
            querier: Batcher::new(metrics.counts(Querier::NAME)),
            heartbeater: Batcher::new(metrics.counts(Heartbeater::NAME)),
            reporter: Batcher::new(metrics.counts(Reporter::NAME)),
            room: Arc::new(Semaphore::new(room)),
            readiness: Readiness::new(metrics.ready.clone()),
            metrics,
            traces: Traces::default(),
            restoration: Restoration::default(),
            questions: AtomicU64::default(),
            reports: AtomicU64::default(),
        }
    }

    /// From now on the end of a session is not told: all of them end with the registration.
    pub fn drain(&self) {
        self.readiness.drain();
        self.heartbeater.drain();
        self.reporter.drain();
    }

    /// Waits until no request waits and none is in flight.
    pub async fn idle(&self) {
        self.binder.idle().await;
        self.tunneler.idle().await; // the binder's last may have woken it
        self.handshaker.idle().await; // and these two the handshaker
    }

    /// Waits until what is kept of agents is written.
    pub async fn records_written(&self) {
        self.heartbeater.idle().await;
        self.reporter.idle().await;
    }

    /// A registration is current and its log is listened to: all sessions are to be restored.
    pub fn begin(&self, registration: Uuid) {
        let mut fold = self.lock();
        let restoring = self.restoration.begin();
        for id in fold.begin() {
            let restore = BinderRequest { restoring: Some(restoring.clone()), ..BinderRequest::new(Step::Restore) };
            self.binder.push(id, restore);
        }
        drop(fold);
        self.readiness.begin(registration);
        self.metrics.resyncs.inc();
    }

    /// Folds a message of the log.
    pub fn fold(&self, events: Vec<Event>) {
        self.metrics.events.inc_by(events.len() as u64);
        let mut fold = self.lock();
        for event in events {
            if let Some(next) = fold.apply(event) {
                self.querier.push(Question::Page(next.id), QuerierRequest::Page { after: next.after });
            }
        }
        self.metrics.sessions.set(fold.len() as i64);
    }

    /// The log was folded up to what was committed before the last question to its connection.
    pub fn mark(&self) {
        self.lock().mark();
    }

    /// Asks whose token this is. The answer is dropped when Postgres gives none.
    pub fn authenticate(&self, hash: TokenHash) -> oneshot::Receiver<Option<Identity>> {
        let (reply, answer) = oneshot::channel();
        let number = self.questions.fetch_add(1, Ordering::Relaxed);
        self.querier.push(Question::Token(number), QuerierRequest::Token { hash, reply });
        answer
    }

    /// A session begins; None: a newer one of its peer is here already.
    pub fn join(&self, id: SessionId) -> Option<Joined> {
        let mut fold = self.lock();
        let outbox = fold.open(id)?;
        let (done, attached) = oneshot::channel();
        self.binder.push(id, BinderRequest { done: vec![done], ..BinderRequest::new(Step::Attach) });
        self.metrics.sessions.set(fold.len() as i64);
        Some(Joined { outbox, attached })
    }

    /// A session announced its node.
    pub fn announce(&self, id: SessionId, node: Arc<RawValue>, permit: Permit) {
        let mut fold = self.lock();
        if fold.announce(id, node) {
            self.binder.push(id, BinderRequest { permit: Some(permit), ..BinderRequest::new(Step::Bind) });
        }
    }

    /// Ends a session with a goodbye; None: it ended already.
    pub fn disconnect(&self, id: SessionId) -> Option<oneshot::Receiver<()>> {
        let mut fold = self.lock();
        if !fold.close(id) {
            return None;
        }
        let (done, committed) = oneshot::channel();
        self.binder.push(id, BinderRequest { done: vec![done], ..BinderRequest::new(Step::Disconnect) });
        self.metrics.sessions.set(fold.len() as i64);
        Some(committed)
    }

    /// Ends a session without a goodbye, unless it ended already.
    pub fn lose(&self, id: SessionId) {
        let mut fold = self.lock();
        if fold.close(id) && !self.readiness.draining() {
            self.binder.push(id, BinderRequest::new(Step::Lose));
        }
        self.metrics.sessions.set(fold.len() as i64);
    }

    /// The number of sessions.
    pub fn sessions(&self) -> usize {
        self.lock().len()
    }

    /// Sends so many peers to other proxies. Returns how many it had.
    pub fn shed(&self, count: usize) -> usize {
        let fold = self.lock();
        for outbox in fold.outboxes().take(count) {
            if outbox.close(Close::Shed) {
                self.metrics.shed.inc();
            }
        }
        fold.len()
    }

    /// What it takes to restore a session; None: it ended.
    pub fn standing(&self, id: SessionId) -> Option<Standing> {
        self.lock().standing(id)
    }

    /// The last node of a session; None: it ended.
    pub fn node(&self, id: SessionId) -> Option<Arc<RawValue>> {
        self.lock().node(id)
    }

    /// The outbox of a session; None: it ended.
    pub fn outbox(&self, id: SessionId) -> Option<Arc<Outbox>> {
        self.lock().outbox(id).cloned()
    }

    /// A request of a session will never be done.
    pub fn refuse(&self, id: SessionId, error: String) {
        tracing::warn!(%id, trace_id = self.traces.id(id), error, "Postgres refused an entry");
        self.lock().refuse(id, error, true);
    }

    /// The state, for as long as the guard lives.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Fold> {
        self.fold.lock().expect("no code panics with this lock held")
    }
}
