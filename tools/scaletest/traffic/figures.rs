//! What `traffic` measures.

use std::{
    fmt,
    time::{Duration, Instant},
};

use serde::{Serialize, Serializer, ser::SerializeStruct as _};
use tailnet_tools::latencies::Latencies;

use super::options::Traffic;
use crate::{
    figures::{Connects, Figures},
    metrics::{Bytes, Metrics},
    record::Record,
};

/// Its part of the report.
#[derive(Debug, Serialize)]
pub struct Flow {
    pub load: Loading,
    pub traffic: Moved,
}

/// The phase load. Its times count from its beginning.
#[derive(Debug, Default, Serialize)]
pub struct Loading {
    #[serde(flatten)]
    pub connects: Connects,
    /// Pairs that have a WireGuard session.
    pub pairs_ready: usize,
    pub last_ready_seconds: f64,
    /// Each pair, from its first connect.
    pub ready_ms: Latencies,
    /// Each pair, from its first WireGuard message.
    pub handshake_ms: Latencies,
}

/// The phase traffic.
#[derive(Debug, Serialize)]
pub struct Moved {
    pub bytes_per_tick: u64,
    pub tick_interval_seconds: f64,
    /// 0 until it has begun.
    pub for_seconds: f64,
    /// What clients with a session were to send.
    pub bytes_due: u64,
    /// What clients sent, and what they got back.
    pub clients: Bytes,
    /// What agents got, and what they sent back.
    pub agents: Bytes,
}

impl Flow {
    /// Of a run that begins.
    pub fn new(options: &Traffic, metrics: &Metrics) -> Self {
        let traffic = Moved {
            bytes_per_tick: options.bytes_per_tick,
            tick_interval_seconds: options.tick_interval.as_secs_f64(),
            for_seconds: 0.0,
            bytes_due: 0,
            clients: metrics.bytes("client"),
            agents: metrics.bytes("agent"),
        };
        Self { load: Loading::default(), traffic }
    }
}

impl Figures for Flow {
    fn connects(&mut self) -> &mut Connects {
        &mut self.load.connects
    }

    fn how_far(&self, phase: &str, seconds: f64, pairs: usize) -> Option<String> {
        match phase {
            "load" => Some(format!("with {} of {pairs} pairs ready", self.load.pairs_ready)),
            "traffic" => Some(format!("after {seconds:.1} s of {:.1} s", self.traffic.for_seconds)),
            _ => None,
        }
    }

    fn in_short(&self) -> Option<String> {
        let Bytes { read, written } = &self.traffic.clients;
        Some(format!("traffic: {} bytes read, {} bytes written", read.get(), written.get()))
    }
}

impl Record<Flow> {
    /// A pair that began to connect at `begun` has a session, whose handshake took so long.
    pub fn ready(&self, begun: Instant, handshake: Duration) {
        self.note(|Flow { load, .. }, phase| {
            load.pairs_ready += 1;
            load.last_ready_seconds = phase.elapsed().as_secs_f64();
            load.ready_ms.add(begun.elapsed());
            load.handshake_ms.add(handshake);
        });
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Bytes", 2)?;
        fields.serialize_field("bytes_read", &self.read.get())?;
        fields.serialize_field("bytes_written", &self.written.get())?;
        fields.end()
    }
}

/// The figures for people.
impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Loading { connects, pairs_ready, last_ready_seconds, ready_ms, handshake_ms } = &self.load;
        writeln!(f, "load     {connects}; {pairs_ready} pairs ready, the last after {last_ready_seconds:.2} s")?;
        writeln!(f, "  connect      {}", connects.connect_ms)?;
        writeln!(f, "  ready        {ready_ms}")?;
        writeln!(f, "  handshake    {handshake_ms}")?;
        let Moved { bytes_per_tick, tick_interval_seconds, for_seconds, bytes_due, clients, agents } = &self.traffic;
        writeln!(
            f,
            "traffic  {bytes_per_tick} bytes every {tick_interval_seconds} s for {for_seconds:.1} s: {bytes_due} due"
        )?;
        for (name, Bytes { read, written }) in [("clients", clients), ("agents", agents)] {
            writeln!(f, "  {name:<12} {} bytes read, {} bytes written", read.get(), written.get())?;
        }
        Ok(())
    }
}
