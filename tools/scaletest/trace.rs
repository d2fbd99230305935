//! The trace of a run: a span for it, one for each of its phases, and one for each peer from its connect to its end.

use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::Args;
use opentelemetry::{
    Context, KeyValue,
    trace::{Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt as _, Tracer as _},
};
use opentelemetry_sdk::trace::{SdkTracer, Span};
use tailnet_traces::{Counts, Export, Service, Settings, parent};
use uuid::Uuid;

use crate::who::Who;

/// The most time for the last spans.
const FLUSH_TIME: Duration = Duration::from_secs(5);

/// Room for other spans than those of peers.
const QUEUE: usize = 2048;

/// Where a collector is, unless somebody says otherwise: what OpenTelemetry's own programs assume.
const COLLECTOR: &str = "http://127.0.0.1:4318";

/// What becomes of the trace.
#[derive(Debug, Clone, Args)]
pub struct Tracing {
    /// Send a trace of the run to the collector: a span for the run, for each of its phases, and for each peer
    #[arg(long, env = "TAILNET_SCALETEST_TRACE")]
    pub trace: bool,

    /// Send a traceparent in each websocket upgrade, so that proxies continue the trace: with spans, if they have a
    /// collector, and with its id in their log lines of the connection
    #[arg(long, env = "TAILNET_SCALETEST_TRACE_PROPAGATE")]
    pub trace_propagate: bool,

    /// The collector: the base URL of one that takes OTLP over HTTP with protobuf. No TLS [default: http://127.0.0.1:4318]
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,

    /// The name of the service in the trace [default: tailnet-scaletest]
    #[arg(long, env = "OTEL_SERVICE_NAME", value_name = "NAME")]
    pub service_name: Option<String>,
}

/// The trace of one run, or none. Its clones are the same one.
#[derive(Debug, Clone)]
pub struct Trace(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    export: Export,
    tracer: SdkTracer,
    propagate: bool,
    context: SpanContext,
    run: Mutex<Span>,
    phase: Mutex<Option<Span>>,
}

/// The part of one peer.
#[derive(Debug)]
pub struct Runner {
    trace: Trace,
    attributes: Vec<KeyValue>,
    span: OnceLock<Mutex<Span>>,
}

impl Trace {
    /// Begins the trace of a run of so many peers, if there is to be one.
    ///
    /// # Errors
    /// When the collector is none.
    pub fn begin(options: &Tracing, peers: usize, attributes: Vec<KeyValue>) -> Result<Self> {
        if !options.trace && !options.trace_propagate {
            return Ok(Self(None));
        }
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let export = if options.trace {
            let endpoint = given(&options.otlp_endpoint).unwrap_or_else(|| COLLECTOR.to_owned());
            let endpoint = endpoint.parse().with_context(|| format!("{endpoint:?} is no collector of traces"))?;
            let service = Service {
                default_name: "tailnet-scaletest",
                name: given(&options.service_name),
                version: env!("CARGO_PKG_VERSION"),
                instance: Uuid::new_v4().to_string(),
            };
            // They end nearly all at the same time.
            let queue = Some(peers + QUEUE);
            Export::start(&endpoint, Settings { service, ratio: 1.0, queue }, Counts::default())?
        } else {
            Export::nowhere()
        };
        let tracer = export.tracer("tailnet-scaletest");
        let run = tracer.build_with_context(SpanBuilder::from_name("run").with_attributes(attributes), &Context::new());
        let context = run.span_context().clone();
        let (propagate, run, phase) = (options.trace_propagate, Mutex::new(run), Mutex::default());
        Ok(Self(Some(Arc::new(Inner { export, tracer, propagate, context, run, phase }))))
    }

    /// What each log line of the run begins with.
    pub fn log_span(&self) -> tracing::Span {
        let Some(inner) = &self.0 else { return tracing::Span::none() };
        // Of the highest level, so that it is there whatever is logged.
        tracing::error_span!("run", trace_id = %inner.context.trace_id())
    }

    /// A phase begins, and with it the one before ends.
    pub fn phase(&self, name: &'static str) {
        if let Some(inner) = &self.0 {
            let span = inner.begin(SpanBuilder::from_name(name));
            *lock(&inner.phase) = Some(span);
        }
    }

    /// One peer, which has not connected yet.
    pub fn runner(&self, who: &Who) -> Runner {
        let mut attributes = Vec::new();
        if self.0.is_some() {
            attributes.extend([
                KeyValue::new("tailnet.peer.id", who.peer.to_string()),
                KeyValue::new("tailnet.peer.name", who.name.clone()),
                KeyValue::new("tailnet.peer.role", who.role),
            ]);
            attributes.extend(who.pair.map(|pair| KeyValue::new("tailnet.pair", pair as i64)));
        }
        Runner { trace: self.clone(), attributes, span: OnceLock::new() }
    }

    /// The run is over. Sends what is still to be sent.
    pub async fn finish(&self, error: Option<String>) {
        let Some(inner) = &self.0 else { return };
        *lock(&inner.phase) = None;
        {
            let mut run = lock(&inner.run);
            if let Some(error) = error {
                run.set_status(Status::error(error));
            }
            run.end();
        }
        if !inner.export.flush(FLUSH_TIME).await {
            tracing::warn!("not all of the trace was sent");
        }
    }
}

impl Inner {
    fn begin(&self, builder: SpanBuilder) -> Span {
        let run = Context::new().with_remote_span_context(self.context.clone());
        self.tracer.build_with_context(builder, &run)
    }
}

impl Runner {
    /// It is about to connect to this proxy. Returns the `traceparent` for that, if there is to be one.
    pub fn connects(&self, url: &str) -> Option<String> {
        let inner = self.trace.0.as_ref()?;
        let span = self.span.get_or_init(|| {
            let attributes = self.attributes.iter().cloned().chain([KeyValue::new("url.full", url.to_owned())]);
            let builder = SpanBuilder::from_name("runner").with_kind(SpanKind::Client);
            Mutex::new(inner.begin(builder.with_attributes(attributes)))
        });
        inner.propagate.then(|| parent::write(lock(span).span_context()))
    }

    /// It is connected.
    pub fn connected(&self) {
        if let Some(span) = self.span.get() {
            lock(span).add_event("connected", Vec::new());
        }
    }

    /// It failed.
    pub fn failed(&self, error: &anyhow::Error) {
        if let Some(span) = self.span.get() {
            lock(span).set_status(Status::error(format!("{error:#}")));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
