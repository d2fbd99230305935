//! Which connections are traced, and the spans of the batches that carry what they ask for.
//!
//! A batch has requests of many connections, each with a trace of its own. OpenTelemetry would have one span of the
//! batch, in a trace of its own, with a link to each of them; but who looks at the trace of a connection does not see
//! that, because a link is followed from its own end only. So each traced connection has a child for each batch that
//! carries requests of it, and the children of one batch have its number in common. Connections without a trace are no
//! part of this: while there is no other, a batch costs one look at a counter.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::http::{HeaderMap, header};
use opentelemetry::{
    KeyValue,
    trace::{Span as _, SpanKind, Status, TraceId},
};
use opentelemetry_sdk::trace::{SdkTracer, Span};
use tailnet_traces::{Export, parent};
use tracing::field::DisplayValue;

use crate::{
    chain::Chain,
    hub::Hub,
    id::{Identity, SessionId},
    trace::{Closing, Trace},
    worker::{Outcome, Role},
};

/// All traces of a proxy.
#[derive(Debug, Default)]
pub struct Traces {
    export: Option<Exported>,
    held: Mutex<HashMap<SessionId, Held>>,
    /// How many are held.
    count: AtomicUsize,
    batches: AtomicU64,
}

#[derive(Debug)]
struct Exported {
    export: Export,
    tracer: SdkTracer,
    /// The share of connections without a `traceparent` that is sampled.
    ratio: f64,
}

#[derive(Debug)]
struct Held {
    trace: Arc<Trace>,
    /// The connection is gone, and its last request is not.
    ended: bool,
}

/// The spans of a batch that is on its way.
#[derive(Debug, Default)]
#[must_use = "it must be settled"]
pub struct Carried(Vec<(SessionId, Option<Span>)>);

impl Traces {
    /// Exports traces: what callers sampled, and this share of the connections that came without a trace.
    pub fn exported(export: Export, ratio: f64) -> Self {
        let tracer = export.tracer("tailnet-proxy");
        Self { export: Some(Exported { export, tracer, ratio }), ..Self::default() }
    }

    /// Begins the trace of a request for a websocket; None: it has none.
    pub fn begin(&self, headers: &HeaderMap) -> Option<Arc<Trace>> {
        let parent = parent::read(headers);
        let trace = match (&self.export, parent) {
            (_, Some(parent)) if !parent.is_sampled() => None,
            (None, parent) => parent.map(Trace::of_log),
            (Some(exported), None) if exported.ratio <= 0.0 => None,
            (Some(exported), parent) => {
                let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
                Trace::begin(&exported.tracer, parent, agent)
            }
        };
        trace.map(Arc::new)
    }

    /// The connection belongs to this session from now on.
    pub fn hold(&self, identity: Identity, trace: Option<Arc<Trace>>) {
        let Some(trace) = trace else { return };
        trace.identify(identity);
        let mut held = self.lock();
        held.insert(identity.id, Held { trace, ended: false });
        self.count.store(held.len(), Ordering::Relaxed);
    }

    /// The trace of a session.
    pub fn of(&self, id: SessionId) -> Option<Arc<Trace>> {
        if self.is_empty() {
            return None;
        }
        self.lock().get(&id).map(|held| Arc::clone(&held.trace))
    }

    /// The trace id of a session, for the log.
    pub fn id(&self, id: SessionId) -> Option<DisplayValue<TraceId>> {
        self.of(id).map(|trace| tracing::field::display(trace.id()))
    }

    /// A session is told of an error.
    pub fn error(&self, id: SessionId, text: &str) {
        if let Some(trace) = self.of(id) {
            trace.error(text);
        }
    }

    /// A batch is about to be sent.
    pub fn carry<R: Role>(&self, batch: &[(R::Key, R::Request)]) -> Carried {
        if self.is_empty() {
            return Carried::default();
        }
        let held = self.lock();
        let mut carried: HashMap<(SessionId, &'static str), (Arc<Trace>, i64)> = HashMap::new();
        for (id, operation) in batch.iter().filter_map(|(key, request)| R::traced(key, request)) {
            if let Some(held) = held.get(&id) {
                carried.entry((id, operation)).or_insert_with(|| (Arc::clone(&held.trace), 0)).1 += 1;
            }
        }
        drop(held);
        if carried.is_empty() {
            return Carried::default();
        }
        let number = self.batches.fetch_add(1, Ordering::Relaxed);
        let attributes = [
            KeyValue::new("db.system.name", "postgresql"),
            KeyValue::new("db.operation.batch.size", batch.len() as i64),
            KeyValue::new("tailnet.role", R::NAME),
            KeyValue::new("tailnet.batch", number as i64),
        ];
        let child = |((id, operation), (trace, requests)): (_, (Arc<Trace>, i64))| {
            let requests = KeyValue::new("tailnet.requests", requests);
            let attributes = attributes.iter().cloned().chain([requests]).collect();
            (id, trace.child(operation, SpanKind::Client, attributes))
        };
        Carried(carried.into_iter().map(child).collect())
    }

    /// Ends what is still open, and sends what is still to be sent, in at most this time.
    pub async fn flush(&self, patience: Duration) {
        let Some(exported) = &self.export else { return };
        self.lock().values().for_each(|held| held.trace.abandon());
        if !exported.export.flush(patience).await {
            tracing::warn!("not all traces were sent");
        }
    }

    fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Held>> {
        self.held.lock().expect("no code panics with this lock held")
    }
}

impl Carried {
    /// The batch is over. To be called before what failed waits again.
    pub fn end<R: Role>(&mut self, outcome: &Outcome<R::Key, R::Request>) {
        if self.0.is_empty() {
            return;
        }
        let failed = outcome.failed.iter().filter_map(|(key, request)| R::traced(key, request));
        let failed: HashSet<SessionId> = failed.map(|(id, _)| id).collect();
        for (id, span) in &mut self.0 {
            let Some(mut span) = span.take() else { continue };
            if failed.contains(id) {
                let error = outcome.errors.first().map(|error| Chain(error).to_string());
                span.set_status(Status::error(error.unwrap_or_default()));
            }
            span.end();
        }
    }
}

impl Hub {
    /// The connection of a session ended. Its trace is held until the last request of it is done.
    pub fn end_trace(&self, id: SessionId, closing: Closing) {
        let Some(trace) = self.traces.of(id) else { return };
        trace.end(closing);
        if let Some(held) = self.traces.lock().get_mut(&id) {
            held.ended = true;
        }
        self.release(id);
    }

    /// What a batch carried was given back.
    pub fn settle(&self, carried: Carried) {
        carried.0.into_iter().for_each(|(id, _)| self.release(id));
    }

    /// Whichever comes last, the end of the connection or that of its last batch, finds both done.
    fn release(&self, id: SessionId) {
        if self.traces.lock().get(&id).is_some_and(|held| held.ended) && !self.binder.is_busy(&id) {
            let mut held = self.traces.lock();
            held.remove(&id);
            self.traces.count.store(held.len(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use futures_util::FutureExt as _;
    use tailnet_wire::Role as PeerRole;
    use uuid::Uuid;

    use super::*;
    use crate::{batcher::Batching, binder::Binder, close::Close, request::BinderRequest, request::Step};

    const BATCHING: Batching = Batching { limit: 9, linger: Duration::ZERO, pace: Duration::ZERO };

    fn held(hub: &Hub) -> SessionId {
        let id = SessionId { peer: Uuid::from_u128(1), number: 1 };
        let mut headers = HeaderMap::new();
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        headers.insert(parent::TRACEPARENT, HeaderValue::from_static(parent));
        let trace = hub.traces.begin(&headers);
        assert!(trace.is_some());
        hub.traces.hold(Identity { id, role: PeerRole::Agent }, trace);
        id
    }

    fn take(hub: &Hub) -> (Vec<(SessionId, BinderRequest)>, Carried) {
        let batch = hub.binder.take(BATCHING).now_or_never().expect("a request waits");
        let carried = hub.traces.carry::<Binder>(&batch);
        assert_eq!(carried.0.len(), 1, "it is carried");
        (batch, carried)
    }

    #[test]
    fn a_connection_without_a_trace_carries_a_pointer() {
        assert_eq!(size_of::<Option<Arc<Trace>>>(), size_of::<usize>());
    }

    #[test]
    fn a_trace_is_held_until_the_last_request_is_done() {
        let hub = Hub::default();
        let id = held(&hub);
        hub.binder.push(id, BinderRequest::new(Step::Lose));
        hub.end_trace(id, Closing::Gone);
        // The first attempt fails, and the request waits again.
        for (failed, still_held) in [(true, true), (false, false)] {
            let (batch, carried) = take(&hub);
            hub.binder.finish([id], if failed { batch } else { Vec::new() });
            hub.settle(carried);
            assert_eq!(hub.traces.of(id).is_some(), still_held);
        }
        assert!(hub.traces.is_empty());
    }

    #[test]
    fn a_trace_is_let_go_when_the_connection_ends_after_its_last_request() {
        let hub = Hub::default();
        let id = held(&hub);
        hub.binder.push(id, BinderRequest::new(Step::Attach));
        let (_, carried) = take(&hub);
        hub.binder.finish([id], Vec::new());
        hub.settle(carried);
        assert!(hub.traces.of(id).is_some());
        hub.end_trace(id, Closing::Closed(Close::Superseded));
        assert!(hub.traces.is_empty());
    }
}
