//! What `--metrics-listen` shows of a run while it goes on, in the OpenMetrics format.

use std::{net::SocketAddr, sync::Arc, sync::atomic::AtomicU64};

use anyhow::{Context, Result};
use axum::{Router, extract::State, http::header, response::IntoResponse, routing::get};
use prometheus_client::{
    encoding::text::encode,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Metric, Registry},
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

/// What tells the members of a family apart: a name and a value.
type Label = [(&'static str, &'static str); 1];

/// All metrics of one run.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    runners: Family<Label, Gauge>,
    phases: Family<Label, Gauge>,
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
    read: Family<Label, Count>,
    written: Family<Label, Count>,
}

/// From 1 ms to a minute.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 17))
}

/// Shows a metric.
fn shown<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("tailnet_scaletest");
        let all = &mut registry;
        let update = "Time from when a change of a node was due until the partner heard of it";
        let departures = "Peers that left, and tunnels that were closed, for a time";
        let right = "Time from when a departure was due until the peer and its partner were told all again";
        Self {
            runners: shown(all, "runners", "Runners by what became of them", Family::default()),
            phases: shown(all, "phase", "1 for the phase that is under way", Family::default()),
            connect_seconds: shown(all, "connect_seconds", "Time until a websocket was open", seconds()),
            updates_sent: shown(all, "updates_sent", "Changes of nodes sent", Count::default()),
            updates_heard: shown(all, "updates_heard", "Changes of nodes heard by the partner", Count::default()),
            update_seconds: shown(all, "update_seconds", update, seconds()),
            departures: shown(all, "departures", departures, Count::default()),
            right_again_seconds: shown(all, "right_again_seconds", right, seconds()),
            read: shown(all, "bytes_read", "Bytes read out of tunnels", Family::default()),
            written: shown(all, "bytes_written", "Bytes written into tunnels", Family::default()),
            registry,
        }
    }
}

impl Metrics {
    /// How many runners there are.
    pub fn runners(&self, unfinished: usize, passed: usize, failed: usize) {
        for (state, count) in [("unfinished", unfinished), ("passed", passed), ("failed", failed)] {
            self.runners.get_or_create(&[("state", state)]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// A phase begins.
    pub fn phase(&self, phase: &'static str) {
        self.phases.clear();
        self.phases.get_or_create(&[("phase", phase)]).set(1);
    }

    /// Where peers of a role count their bytes, which are shown from now on.
    pub fn bytes(&self, role: &'static str) -> Bytes {
        let role = [("role", role)];
        Bytes { read: self.read.get_or_create_owned(&role), written: self.written.get_or_create_owned(&role) }
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
    let mut text = String::new();
    encode(&mut text, &metrics.registry).expect("a String takes any text");
    ([(header::CONTENT_TYPE, OPEN_METRICS)], text)
}
