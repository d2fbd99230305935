//! What the admin listener shows of this proxy, in the OpenMetrics format.

use std::{fmt::Display, sync::atomic::AtomicU64, time::Duration};

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

use crate::observe::telemetry::Telemetry;

/// Which worker a figure is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByWorker {
    worker: &'static str,
}

/// In which protocol sessions began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByProtocol {
    protocol: &'static str,
}

/// In which protocol sessions ended, and how.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByEnd {
    protocol: &'static str,
    end: String,
}

type Count = Counter<u64, AtomicU64>;

type Fraction = Gauge<f64, AtomicU64>;

/// What became of the requests to one kind of worker.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Requests that were made.
    pub received: Count,
    /// Requests that were merged into one that waited.
    pub merged: Count,
    /// Requests that wait again, because a call failed.
    pub retried: Count,
    /// Requests that are done.
    pub written: Count,
    /// How batches are paced.
    pub pace: Paced,
}

/// What decided when the last batch went.
#[derive(Debug, Clone, Default)]
pub struct Paced {
    /// Seconds from one batch to the next, at least, unless one is full.
    pub interval: Fraction,
    /// Requests a second.
    pub rate: Fraction,
    /// Seconds that a call takes without the part of its requests.
    pub call: Fraction,
}

/// All metrics of one proxy.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Sessions held here.
    pub sessions: Gauge,
    /// 1 while new sessions are taken.
    pub ready: Gauge,
    /// Messages from peers.
    pub messages: Count,
    /// Updates delivered to peers.
    pub updates: Count,
    /// NOTIFY payloads.
    pub payloads: Count,
    /// Events folded.
    pub events: Count,
    /// Events that this proxy does not know.
    pub unknown: Count,
    /// The share of the queue of notifications that is in use.
    pub queue: Fraction,
    /// Other coordinators that this one expired.
    pub expired: Count,
    /// What this one ended of what operators had taken away.
    pub reaped: Count,
    /// Sessions that were sent to other proxies.
    pub shed: Count,
    /// Registrations, each with a restore of all sessions.
    pub resyncs: Count,
    /// Rows of connection logs that Postgres says were written.
    pub log_rows: Count,
    /// Parts of nodes of JSON peers that v2 cannot say.
    pub left_out: Count,
    /// What v2 clients measure.
    pub telemetry: Telemetry,
    /// Spans of traces.
    pub spans: tailnet_traces::Counts,
    begun: Family<ByProtocol, Count>,
    ended: Family<ByEnd, Count>,
    received: Family<ByWorker, Count>,
    merged: Family<ByWorker, Count>,
    retried: Family<ByWorker, Count>,
    written: Family<ByWorker, Count>,
    batches: Family<ByWorker, Count>,
    entries: Family<ByWorker, Count>,
    failures: Family<ByWorker, Count>,
    seconds: Family<ByWorker, Histogram>,
    interval: Family<ByWorker, Fraction>,
    rate: Family<ByWorker, Fraction>,
    call: Family<ByWorker, Fraction>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("tailnet"),
            sessions: Gauge::default(),
            ready: Gauge::default(),
            messages: Count::default(),
            updates: Count::default(),
            payloads: Count::default(),
            events: Count::default(),
            unknown: Count::default(),
            queue: Gauge::default(),
            expired: Count::default(),
            reaped: Count::default(),
            shed: Count::default(),
            resyncs: Count::default(),
            log_rows: Count::default(),
            left_out: Count::default(),
            telemetry: Telemetry::default(),
            spans: tailnet_traces::Counts::default(),
            begun: Family::default(),
            ended: Family::default(),
            received: Family::default(),
            merged: Family::default(),
            retried: Family::default(),
            written: Family::default(),
            batches: Family::default(),
            entries: Family::default(),
            failures: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.0005, 2.0, 16))),
            interval: Family::default(),
            rate: Family::default(),
            call: Family::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    /// Where the requests to a worker are counted. From now on all figures of the worker are shown, from zero.
    pub fn counts(&self, worker: &'static str) -> Counts {
        let worker = ByWorker { worker };
        for family in [&self.batches, &self.entries, &self.failures] {
            drop(family.get_or_create(&worker));
        }
        drop(self.seconds.get_or_create(&worker));
        Counts {
            received: self.received.get_or_create_owned(&worker),
            merged: self.merged.get_or_create_owned(&worker),
            retried: self.retried.get_or_create_owned(&worker),
            written: self.written.get_or_create_owned(&worker),
            pace: Paced {
                interval: self.interval.get_or_create_owned(&worker),
                rate: self.rate.get_or_create_owned(&worker),
                call: self.call.get_or_create_owned(&worker),
            },
        }
    }

    /// A session began.
    pub fn session_began(&self, protocol: &'static str) {
        self.begun.get_or_create(&ByProtocol { protocol }).inc();
    }

    /// A session ended, with a close code, or as a word says.
    pub fn session_ended(&self, protocol: &'static str, end: impl Display) {
        self.ended.get_or_create(&ByEnd { protocol, end: end.to_string() }).inc();
    }

    /// A batch was committed or failed, after this time.
    pub fn batch(&self, worker: &'static str, entries: usize, ok: bool, took: Duration) {
        let worker = ByWorker { worker };
        self.batches.get_or_create(&worker).inc();
        self.entries.get_or_create(&worker).inc_by(entries as u64);
        self.seconds.get_or_create(&worker).observe(took.as_secs_f64());
        if !ok {
            self.failures.get_or_create(&worker).inc();
        }
    }

    /// The text for a scrape.
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("a String takes any text");
        text
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("sessions", "Websocket sessions held", self.sessions.clone());
        registry.register("sessions_begun", "Sessions that began, by protocol", self.begun.clone());
        let ended = "Sessions that ended, by protocol and by close code, or gone, or silent";
        registry.register("sessions_ended", ended, self.ended.clone());
        registry.register("ready", "1 while new sessions are taken", self.ready.clone());
        registry.register("messages_received", "Messages received from peers", self.messages.clone());
        registry.register("updates_sent", "Updates written to peers", self.updates.clone());
        registry.register("log_payloads", "NOTIFY payloads received", self.payloads.clone());
        registry.register("log_events", "Events of the log folded", self.events.clone());
        let unknown = "Events and roles of a newer extension that this proxy does not know, and ignored";
        registry.register("log_events_unknown", unknown, self.unknown.clone());
        let queue = "Share of the queue of notifications of Postgres in use, as of the last heartbeat; when it is full, \
                     nothing can be committed";
        registry.register("notification_queue_usage", queue, self.queue.clone());
        registry.register("coordinators_expired", "Other proxies that this one found silent", self.expired.clone());
        let reaped = "What this proxy ended of what operators had taken away: peers and tunnels";
        registry.register("withdrawals_reaped", reaped, self.reaped.clone());
        registry.register("sessions_shed", "Sessions sent to other proxies (close 1013)", self.shed.clone());
        registry.register("resyncs", "Registrations, each with a restore of all sessions", self.resyncs.clone());
        registry.register("connection_log_rows", "Rows of connection logs written", self.log_rows.clone());
        let left_out =
            "Fields and entries of nodes of JSON peers that v2 peers were not told, because protobuf cannot say them";
        registry.register("node_parts_left_out", left_out, self.left_out.clone());
        self.telemetry.register(registry);
        registry.register("spans_ended", "Spans of traces to be exported", self.spans.ended.clone());
        registry.register("spans_delivered", "Spans that the collector took", self.spans.delivered.clone());
        registry.register("requests_received", "Requests to be written", self.received.clone());
        registry.register("requests_merged", "Requests merged into one that waited", self.merged.clone());
        registry.register("requests_retried", "Requests that wait again after a failed call", self.retried.clone());
        registry.register("requests_written", "Requests that are done", self.written.clone());
        registry.register("batches", "Batches sent to Postgres", self.batches.clone());
        registry.register("batch_entries", "Requests in those batches", self.entries.clone());
        registry.register("batch_failures", "Batches that failed, at least in part", self.failures.clone());
        registry.register("batch_seconds", "Time from taking a batch to its end", self.seconds.clone());
        let interval = "Least time between two batches, unless one is full, as of the last batch";
        registry.register("batch_interval_seconds", interval, self.interval.clone());
        registry.register("batch_request_rate", "Requests a second, as of the last batch", self.rate.clone());
        registry.register(
            "batch_call_seconds",
            "Fixed cost of a call, as of the last batch: its time less the part of its requests",
            self.call.clone(),
        );
    }
}
