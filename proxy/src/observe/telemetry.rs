//! What clients measure of their tunnels, as they tell it. It is counted and not kept.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{
        counter::Counter,
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

/// How a tunnel carries its packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Path {
    /// Directly.
    P2p,
    /// Through a relay.
    Derp,
}

/// What a client tells of one tunnel.
#[derive(Debug, Clone, Copy)]
pub struct Connection {
    /// How it goes.
    pub path: Path,
    /// It begins; otherwise it ends.
    pub begins: bool,
    /// Seconds until it worked.
    pub setup: Option<f64>,
    /// Seconds of a round trip.
    pub latency: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByPath {
    path: Path,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByPathAndStatus {
    path: Path,
    status: Status,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
enum Status {
    Connected,
    Disconnected,
}

/// What all clients of this proxy have told.
#[derive(Debug)]
pub struct Telemetry {
    events: Family<ByPathAndStatus, Counter<u64, AtomicU64>>,
    setup: Family<ByPath, Histogram>,
    latency: Family<ByPath, Histogram>,
}

impl Default for Telemetry {
    fn default() -> Self {
        // 1 ms to 16 s; from 0.5 ms to 1 s.
        let setup = || Histogram::new(exponential_buckets(0.001, 2.0, 15));
        let latency = || Histogram::new(exponential_buckets(0.0005, 2.0, 12));
        Self {
            events: Family::default(),
            setup: Family::new_with_constructor(setup),
            latency: Family::new_with_constructor(latency),
        }
    }
}

impl Telemetry {
    /// Shows it in the metrics.
    pub fn register(&self, registry: &mut Registry) {
        let Self { events, setup, latency } = self;
        registry.register(
            "client_connections",
            "Beginnings and ends of tunnels that v2 clients told, by how they carry packets",
            events.clone(),
        );
        let help = "Time until tunnels of v2 clients worked, as they told";
        registry.register_with_unit("client_setup", help, Unit::Seconds, setup.clone());
        let help = "Round trips through tunnels of v2 clients, as they told";
        registry.register_with_unit("client_latency", help, Unit::Seconds, latency.clone());
    }

    /// Counts what a client tells.
    pub fn take(&self, connection: &Connection) {
        let Connection { path, begins, setup, latency } = *connection;
        let status = if begins { Status::Connected } else { Status::Disconnected };
        self.events.get_or_create(&ByPathAndStatus { path, status }).inc();
        if let Some(seconds) = setup {
            self.setup.get_or_create(&ByPath { path }).observe(seconds);
        }
        if let Some(seconds) = latency {
            self.latency.get_or_create(&ByPath { path }).observe(seconds);
        }
    }
}
