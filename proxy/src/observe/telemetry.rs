//! What clients and agents measure of their tunnels, as they tell it. It is counted and not kept.

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

/// What went through the tunnels of one agent since it last told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Traffic {
    /// Bytes that it got.
    pub received: u64,
    /// Bytes that it sent.
    pub sent: u64,
    /// Connections that were open.
    pub connections: u64,
    /// Seconds of a round trip, the median over its connections.
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

/// What all clients and agents of this proxy have told.
#[derive(Debug)]
pub struct Telemetry {
    events: Family<ByPathAndStatus, Counter<u64, AtomicU64>>,
    setup: Family<ByPath, Histogram>,
    latency: Family<ByPath, Histogram>,
    received: Counter<u64, AtomicU64>,
    sent: Counter<u64, AtomicU64>,
    connections: Counter<u64, AtomicU64>,
    agent_latency: Histogram,
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
            received: Counter::default(),
            sent: Counter::default(),
            connections: Counter::default(),
            agent_latency: latency(),
        }
    }
}

impl Telemetry {
    /// Shows it in the metrics.
    pub fn register(&self, registry: &mut Registry) {
        let Self { events, setup, latency, received, sent, connections, agent_latency } = self;
        registry.register(
            "client_connections",
            "Beginnings and ends of tunnels that v2 clients told, by how they carry packets",
            events.clone(),
        );
        let help = "Time until tunnels of v2 clients worked, as they told";
        registry.register_with_unit("client_setup", help, Unit::Seconds, setup.clone());
        let help = "Round trips through tunnels of v2 clients, as they told";
        registry.register_with_unit("client_latency", help, Unit::Seconds, latency.clone());
        let help = "Bytes that v2 agents got through their tunnels, as they told";
        registry.register_with_unit("agent_received", help, Unit::Bytes, received.clone());
        let help = "Bytes that v2 agents sent through their tunnels, as they told";
        registry.register_with_unit("agent_sent", help, Unit::Bytes, sent.clone());
        let help = "Connections to v2 agents, counted once in each interval of their statistics";
        registry.register("agent_connections", help, connections.clone());
        let help = "Median round trips of v2 agents, as they told";
        registry.register_with_unit("agent_latency", help, Unit::Seconds, agent_latency.clone());
    }

    /// Counts what an agent tells.
    pub fn carried(&self, traffic: &Traffic) {
        self.received.inc_by(traffic.received);
        self.sent.inc_by(traffic.sent);
        self.connections.inc_by(traffic.connections);
        if let Some(seconds) = traffic.latency {
            self.agent_latency.observe(seconds);
        }
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
