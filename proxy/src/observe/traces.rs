//! Which connections are traced, and the spans of the batches that carry their requests.
//!
//! A batch has requests of many connections, each with a trace of its own. OpenTelemetry would have one span for the batch,
//! in a trace of its own, with a link to each connection. But a link is followed from its own end only, so the trace of a
//! connection would not show the batch. So each traced connection has a child span for each batch that carries requests of
//! it, and the children of one batch have the number of the batch in common. While no connection is traced, a batch costs
//! one look at a counter.

use std::{
    collections::{HashMap, HashSet},
    error::Error,
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
use tailnet_wire::{Chain, Role, SessionId};
use tracing::field::DisplayValue;

use crate::observe::trace::{Closing, Trace};

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
    /// The connection has ended. Its last request may not be done yet.
    ended: bool,
}

/// The spans of a batch that is on its way.
#[derive(Debug, Default)]
#[must_use = "the traces must be released"]
pub struct Carried(Vec<(SessionId, Option<Span>)>);

impl Traces {
    /// Exports traces: what callers sampled, and this share of the connections that came without a trace.
    pub fn exported(export: Export, ratio: f64) -> Self {
        let tracer = export.tracer("tailnet-proxy");
        Self { export: Some(Exported { export, tracer, ratio }), ..Self::default() }
    }

    /// Begins the trace of a request for a websocket; None: it has none.
    pub fn begin(&self, headers: &HeaderMap, route: &'static str, path: &str) -> Option<Arc<Trace>> {
        let parent = parent::read(headers);
        let trace = match (&self.export, parent) {
            (_, Some(parent)) if !parent.is_sampled() => None,
            (None, parent) => parent.map(Trace::of_log),
            (Some(exported), None) if exported.ratio <= 0.0 => None,
            (Some(exported), parent) => {
                let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
                Trace::begin(&exported.tracer, parent, route, path, agent)
            }
        };
        trace.map(Arc::new)
    }

    /// The connection belongs to this session from now on.
    pub fn hold(&self, id: SessionId, role: Role, trace: Option<Arc<Trace>>) {
        let Some(trace) = trace else { return };
        trace.identify(id, role);
        let mut held = self.lock();
        held.insert(id, Held { trace, ended: false });
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
    pub fn error(&self, id: SessionId, text: impl FnOnce() -> String) {
        if let Some(trace) = self.of(id) {
            trace.error(&text());
        }
    }

    /// A batch is about to be sent by this worker. `requests` says of each request that belongs to a connection which one
    /// that is, and what it does.
    pub fn carry(
        &self,
        worker: &'static str,
        size: usize,
        requests: impl Iterator<Item = (SessionId, &'static str)>,
    ) -> Carried {
        if self.is_empty() {
            return Carried::default();
        }
        let held = self.lock();
        let mut carried: HashMap<(SessionId, &'static str), (Arc<Trace>, i64)> = HashMap::new();
        for (id, operation) in requests {
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
            KeyValue::new("db.operation.batch.size", size as i64),
            KeyValue::new("tailnet.worker", worker),
            KeyValue::new("tailnet.batch", number as i64),
        ];
        let child = |((id, operation), (trace, requests)): (_, (Arc<Trace>, i64))| {
            let requests = KeyValue::new("tailnet.requests", requests);
            let attributes = attributes.iter().cloned().chain([requests]).collect();
            (id, trace.child(operation, SpanKind::Client, attributes))
        };
        Carried(carried.into_iter().map(child).collect())
    }

    /// The connection of a session ended. Its trace is held until it is released.
    pub fn end(&self, id: SessionId, closing: Closing) {
        if let Some(held) = self.lock().get_mut(&id) {
            held.trace.end(closing);
            held.ended = true;
        }
    }

    /// Whether the connection of a session has ended and its trace is still held.
    pub fn has_ended(&self, id: SessionId) -> bool {
        !self.is_empty() && self.lock().get(&id).is_some_and(|held| held.ended)
    }

    /// Holds the trace of a session no longer.
    pub fn release(&self, id: SessionId) {
        let mut held = self.lock();
        held.remove(&id);
        self.count.store(held.len(), Ordering::Relaxed);
    }

    /// Ends the spans that are still open, and sends what was not sent yet, in at most this time.
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
    /// Whether the batch has no request of a traced connection.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of spans.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The batch is over. The caller calls this before the requests that failed wait again.
    pub fn end(&mut self, failed: impl Iterator<Item = SessionId>, error: Option<&dyn Error>) {
        if self.is_empty() {
            return;
        }
        let failed: HashSet<SessionId> = failed.collect();
        for (id, span) in &mut self.0 {
            let Some(mut span) = span.take() else { continue };
            if failed.contains(id) {
                let error = error.map(|error| Chain(error).to_string());
                span.set_status(Status::error(error.unwrap_or_default()));
            }
            span.end();
        }
    }

    /// The sessions whose requests the batch had.
    pub fn sessions(self) -> impl Iterator<Item = SessionId> {
        self.0.into_iter().map(|(id, _)| id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_without_a_trace_carries_a_pointer() {
        assert_eq!(size_of::<Option<Arc<Trace>>>(), size_of::<usize>());
    }
}
