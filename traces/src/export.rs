//! Spans on their way to a collector.
//!
//! The SDK puts ended spans into a bounded queue, and a thread of its own sends them, so the end of a span never waits. Spans
//! for which the queue has no room are dropped, and so are spans that the collector does not take. The SDK logs the first
//! case once. This module logs the second case once, until the collector is back.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use opentelemetry::{Context, KeyValue, trace::TracerProvider as _};
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, SpanExporter as OtlpExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    resource::{EnvResourceDetector, TelemetryResourceDetector},
    trace::{
        BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, Span, SpanData, SpanExporter,
        SpanProcessor,
    },
};
use tokio::{runtime::Handle, sync::oneshot};

use crate::{client::Client, counts::Counts, endpoint::Endpoint};

/// The most time for one request to the collector, with its repeats.
const PATIENCE: Duration = Duration::from_secs(10);

/// The environment asks for what the exporter cannot do.
#[derive(Debug, thiserror::Error)]
#[error("cannot export traces")]
pub struct ExportError(#[from] ExporterBuildError);

/// The program that spans come from, as collectors show it.
#[derive(Debug, Clone)]
pub struct Service {
    /// Its name, unless OTEL_RESOURCE_ATTRIBUTES has another `service.name`.
    pub default_name: &'static str,
    /// Its name, whatever the environment says.
    pub name: Option<String>,
    /// The version of the program.
    pub version: &'static str,
    /// Tells this process from others of the same name.
    pub instance: String,
}

/// Which spans are exported, and how.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The program.
    pub service: Service,
    /// The share of traces that is sampled, from 0 to 1. A span below another is sampled as that one is.
    pub ratio: f64,
    /// How many spans may wait; None: the default of the SDK, 2048 or OTEL_BSP_MAX_QUEUE_SIZE. The SDK allocates the room
    /// at once, about 0.5 KiB for a span.
    pub queue: Option<usize>,
}

/// Spans of one process, exported until [`Export::flush`].
#[derive(Debug, Clone)]
pub struct Export {
    provider: SdkTracerProvider,
}

impl Export {
    /// Exports to this collector. Must be called in the runtime of the program. The collector may be away.
    ///
    /// # Errors
    /// When the environment (OTEL_EXPORTER_OTLP_…) asks for what the exporter cannot do.
    pub fn start(endpoint: &Endpoint, settings: Settings, counts: Counts) -> Result<Self, ExportError> {
        let Settings { service, ratio, queue } = settings;
        let client = Client::new(Handle::current(), PATIENCE);
        let otlp = OtlpExporter::builder()
            .with_http()
            .with_http_client(client.clone())
            .with_endpoint(endpoint.to_string())
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(PATIENCE)
            .build()?;
        let (endpoint, ended) = (endpoint.clone(), counts.ended.clone());
        let exporter =
            Exporter { otlp, client, endpoint, delivered: counts.delivered, failing: AtomicBool::new(false) };
        let config = match queue {
            Some(spans) => BatchConfigBuilder::default().with_max_queue_size(spans),
            None => BatchConfigBuilder::default(),
        };
        let queue = BatchSpanProcessor::builder(exporter).with_batch_config(config.build()).build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(Counted { queue, ended })
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio))))
            .with_resource(resource(service))
            .build();
        Ok(Self { provider })
    }

    /// Exports nothing. All spans are sampled, so that they have ids.
    pub fn nowhere() -> Self {
        Self { provider: SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOn).build() }
    }

    /// Makes the spans of this part of the program.
    pub fn tracer(&self, scope: &'static str) -> SdkTracer {
        self.provider.tracer(scope)
    }

    /// Sends the spans that have ended, and ends the export. Whether all of them were sent within `patience`. Spans that end
    /// later are dropped.
    pub async fn flush(&self, patience: Duration) -> bool {
        let (done, flushed) = oneshot::channel();
        let provider = self.provider.clone();
        // On a thread of its own: the runtime would wait for it when the program has to end at once.
        thread::spawn(move || done.send(provider.shutdown_with_timeout(patience).is_ok()));
        flushed.await.unwrap_or(false)
    }
}

fn resource(service: Service) -> Resource {
    let Service { default_name, name, version, instance } = service;
    let resource = Resource::builder_empty()
        .with_attribute(KeyValue::new("service.name", default_name))
        .with_attribute(KeyValue::new("service.version", version))
        .with_attribute(KeyValue::new("service.instance.id", instance))
        .with_detectors(&[Box::new(TelemetryResourceDetector), Box::new(EnvResourceDetector::new())]);
    match name {
        Some(name) => resource.with_service_name(name).build(),
        None => resource.build(),
    }
}

/// Counts the spans that end, whether or not the queue has room for them.
#[derive(Debug)]
struct Counted {
    queue: BatchSpanProcessor,
    ended: prometheus_client::metrics::counter::Counter<u64>,
}

impl SpanProcessor for Counted {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.queue.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        self.ended.inc();
        self.queue.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.queue.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.queue.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.queue.set_resource(resource);
    }
}

/// Counts the spans that the collector takes, and logs once when it takes none.
#[derive(Debug)]
struct Exporter {
    otlp: OtlpExporter,
    client: Client,
    endpoint: Endpoint,
    delivered: prometheus_client::metrics::counter::Counter<u64>,
    failing: AtomicBool,
}

impl SpanExporter for Exporter {
    /// Returns no error, because the SDK would log each of them.
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        match self.otlp.export(batch).await {
            Ok(()) => {
                self.delivered.inc_by(spans);
                if self.failing.swap(false, Ordering::Relaxed) {
                    tracing::info!(endpoint = %self.endpoint, "the collector takes traces again");
                }
            }
            Err(error) => {
                if !self.failing.swap(true, Ordering::Relaxed) {
                    let error = self.client.take_problem().unwrap_or_else(|| error.to_string());
                    let endpoint = &self.endpoint;
                    tracing::warn!(%endpoint, error, "the collector takes no traces: spans are dropped until it does");
                }
            }
        }
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.otlp.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.otlp.set_resource(resource);
    }
}
