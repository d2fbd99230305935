//! What `--metrics-listen` shows of a run while it goes on, in the OpenMetrics format.

use std::{net::SocketAddr, sync::Arc, sync::atomic::AtomicU64};

use anyhow::{Context, Result};
use axum::{Router, extract::State, http::header, response::IntoResponse, routing::get};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// Never goes down.
pub type Count = Counter<u64, AtomicU64>;

/// Bytes through the tunnels.
#[derive(Debug, Clone, Default)]
pub struct Bytes {
    pub read: Count,
    pub written: Count,
}

/// All metrics of one run.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    runners: Family<ByState, Gauge>,
    phases: Family<ByPhase, Gauge>,
    /// From the beginning of each connect to the open websocket.
    pub connect_seconds: Histogram,
    pub updates_sent: Count,
    pub updates_heard: Count,
    /// From when an update was due until it was heard.
    pub update_seconds: Histogram,
    /// Peers that left to come back, and tunnels that were closed to be opened again.
    pub departures: Count,
    /// From when a departure was due until all was right again.
    pub right_again_seconds: Histogram,
    read: Family<ByRole, Count>,
    written: Family<ByRole, Count>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByState {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByPhase {
    phase: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByRole {
    role: &'static str,
}

/// From 1 ms to a minute.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 17))
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("tailnet_scaletest"),
            runners: Family::default(),
            phases: Family::default(),
            connect_seconds: seconds(),
            updates_sent: Count::default(),
            updates_heard: Count::default(),
            update_seconds: seconds(),
            departures: Count::default(),
            right_again_seconds: seconds(),
            read: Family::default(),
            written: Family::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("runners", "Runners by what became of them", self.runners.clone());
        registry.register("phase", "1 for the phase that is under way", self.phases.clone());
        registry.register("connect_seconds", "Time until a websocket was open", self.connect_seconds.clone());
        registry.register("updates_sent", "Changes of nodes sent", self.updates_sent.clone());
        registry.register("updates_heard", "Changes of nodes heard by the partner", self.updates_heard.clone());
        let update = "Time from when a change of a node was due until the partner heard of it";
        registry.register("update_seconds", update, self.update_seconds.clone());
        registry.register(
            "departures",
            "Peers that left, and tunnels that were closed, for a time",
            self.departures.clone(),
        );
        let right = "Time from when a departure was due until the peer and its partner were told all again";
        registry.register("right_again_seconds", right, self.right_again_seconds.clone());
        registry.register("bytes_read", "Bytes read out of tunnels", self.read.clone());
        registry.register("bytes_written", "Bytes written into tunnels", self.written.clone());
    }

    /// How many runners there are.
    pub fn runners(&self, unfinished: usize, passed: usize, failed: usize) {
        for (state, count) in [("unfinished", unfinished), ("passed", passed), ("failed", failed)] {
            self.runners.get_or_create(&ByState { state }).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// A phase begins.
    pub fn phase(&self, phase: &'static str) {
        self.phases.clear();
        self.phases.get_or_create(&ByPhase { phase }).set(1);
    }

    /// Where peers of a role count their bytes, which are shown from now on.
    pub fn bytes(&self, role: &'static str) -> Bytes {
        let role = ByRole { role };
        Bytes { read: self.read.get_or_create_owned(&role), written: self.written.get_or_create_owned(&role) }
    }

    /// The text for a scrape.
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("a String takes any text");
        text
    }

    /// Answers scrapes of `/metrics` until what is returned is dropped. With port 0 the system chooses one.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn serve(self: Arc<Self>, address: SocketAddr) -> Result<(SocketAddr, AbortOnDropHandle<()>)> {
        let bound = async {
            let listener = TcpListener::bind(address).await?;
            std::io::Result::Ok((listener.local_addr()?, listener))
        };
        let (at, listener) = bound.await.with_context(|| format!("cannot listen on {address} (--metrics-listen)"))?;
        let router = Router::new().route("/metrics", get(scrape)).with_state(self);
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "metrics are not served any more");
            }
        });
        Ok((at, AbortOnDropHandle::new(serving)))
    }
}

async fn scrape(State(metrics): State<Arc<Metrics>>) -> impl IntoResponse {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, OPEN_METRICS)], metrics.text())
}
