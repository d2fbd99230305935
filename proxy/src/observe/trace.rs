//! The trace of one connection: a span from its upgrade to its end, and what hangs below it.
//!
//! Most connections have none. The log lines of the proxy about a connection have its trace id. Its SQL never has.

use std::sync::{Mutex, PoisonError};

use axum::http::StatusCode;
use opentelemetry::{
    Context, KeyValue,
    trace::{Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt as _, TraceId, Tracer as _},
};
use opentelemetry_sdk::trace::{SdkTracer, Span};
use tailnet_wire::{Role, SessionId};

/// The most attributes that the span of a connection gets.
const MAX_ATTRIBUTES: usize = 11;

/// The trace of a connection that is sampled.
#[derive(Debug)]
pub struct Trace {
    /// The context of the connection's span; without an export, that of the caller's.
    context: SpanContext,
    /// None: nothing is exported, and the trace id is for the log.
    recording: Option<Recording>,
}

#[derive(Debug)]
struct Recording {
    tracer: SdkTracer,
    span: Mutex<Span>,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// The other end is gone.
    Gone,
    /// It answered no pings, or took nothing that was written.
    Silent,
    /// The proxy closed it.
    Closed {
        /// The close code of its websocket.
        code: u16,
        /// The peer, the proxy or an operator wanted it. Otherwise it is an error.
        wanted: bool,
    },
}

impl Closing {
    /// The name of the error; None: it is none.
    fn error(self) -> Option<String> {
        match self {
            Self::Gone | Self::Closed { wanted: true, .. } => None,
            Self::Silent => Some("silent".to_owned()),
            Self::Closed { code, wanted: false } => Some(code.to_string()),
        }
    }
}

impl Trace {
    /// Continues a trace that is not exported: only the log has its id.
    pub fn of_log(context: SpanContext) -> Self {
        Self { context, recording: None }
    }

    /// Begins the span of a connection, below `parent` if there is one; None: it is not sampled.
    ///
    /// `route` has no values in it, so that spans of one kind have one name; `path` is what was asked for.
    pub fn begin(
        tracer: &SdkTracer,
        parent: Option<SpanContext>,
        route: &'static str,
        path: &str,
        user_agent: Option<&str>,
    ) -> Option<Self> {
        let mut attributes = Vec::with_capacity(MAX_ATTRIBUTES);
        attributes.extend([
            KeyValue::new("http.request.method", "GET"),
            KeyValue::new("http.route", route),
            KeyValue::new("url.path", path.to_owned()),
            KeyValue::new("url.scheme", "http"),
        ]);
        attributes.extend(user_agent.map(|agent| KeyValue::new("user_agent.original", agent.to_owned())));
        let name = format!("GET {route}");
        let builder = SpanBuilder::from_name(name).with_kind(SpanKind::Server).with_attributes(attributes);
        let span = tracer.build_with_context(builder, &below(parent));
        let context = span.span_context().clone();
        let recording = Recording { tracer: tracer.clone(), span: Mutex::new(span) };
        context.is_sampled().then_some(Self { context, recording: Some(recording) })
    }

    /// The trace id.
    pub fn id(&self) -> TraceId {
        self.context.trace_id()
    }

    /// Begins a span below that of the connection, which ends when it is dropped.
    pub fn child(&self, name: &'static str, kind: SpanKind, attributes: Vec<KeyValue>) -> Option<Span> {
        let recording = self.recording.as_ref()?;
        let builder = SpanBuilder::from_name(name).with_kind(kind).with_attributes(attributes);
        Some(recording.tracer.build_with_context(builder, &below(Some(self.context.clone()))))
    }

    /// How the upgrade was answered.
    pub fn answered(&self, status: StatusCode) {
        self.record(|span| {
            span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
            if status.is_server_error() {
                span.set_attribute(KeyValue::new("error.type", status.as_str().to_owned()));
                span.set_status(Status::error(""));
            }
        });
    }

    /// Whose connection it is.
    pub fn identify(&self, id: SessionId, role: Role) {
        self.record(|span| {
            span.set_attributes([
                KeyValue::new("tailnet.peer.id", id.peer.to_string()),
                KeyValue::new("tailnet.peer.role", role.as_str()),
                KeyValue::new("tailnet.session", id.number),
            ]);
        });
    }

    /// The peer was told of an error.
    pub fn error(&self, text: &str) {
        self.record(|span| span.add_event("error", vec![KeyValue::new("exception.message", text.to_owned())]));
    }

    /// The connection ended.
    pub fn end(&self, closing: Closing) {
        self.record(|span| {
            if let Closing::Closed { code, .. } = closing {
                span.set_attribute(KeyValue::new("tailnet.close.code", i64::from(code)));
            }
            if let Some(error) = closing.error() {
                span.set_attribute(KeyValue::new("error.type", error));
                span.set_status(Status::error(""));
            }
            span.end();
        });
    }

    /// The process ends before the connection.
    pub fn abandon(&self) {
        self.record(Span::end);
    }

    fn record(&self, what: impl FnOnce(&mut Span)) {
        if let Some(recording) = &self.recording {
            what(&mut recording.span.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

fn below(parent: Option<SpanContext>) -> Context {
    parent.map_or_else(Context::new, |parent| Context::new().with_remote_span_context(parent))
}
