//! The figures of a run: `docs/operations.md` says what each field of the JSON is.

use std::fmt;

use serde::Serialize;
use uuid::Uuid;

use crate::{latencies::Latencies, options::Load};

/// What happened, as far as the run came.
#[derive(Debug, Serialize)]
pub struct Report {
    pub ended: Ended,
    /// None: the run passed.
    pub error: Option<String>,
    pub seed: u64,
    pub network: String,
    pub pairs: usize,
    pub hub: bool,
    pub peers: usize,
    pub proxies: Vec<Route>,
    pub load: Loading,
    pub updates: Option<Updates>,
    pub check: Option<Check>,
    pub passed: usize,
    pub failed: usize,
    pub unfinished: usize,
    /// At most `--max-failures` of those that failed.
    pub failures: Vec<Failure>,
    pub phases: Vec<Phase>,
    pub seconds: f64,
}

/// The ways a run may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    Passed,
    Failed,
    Cancelled,
    TimedOut,
}

/// A proxy as it was given, and what is behind it.
#[derive(Debug, Serialize)]
pub struct Route {
    pub url: String,
    pub peers: usize,
    /// Names of the coordinators that its peers had their sessions on: several behind a load balancer.
    pub coordinators: Vec<String>,
}

/// The phase load. Its times count from its beginning.
#[derive(Debug, Serialize)]
pub struct Loading {
    pub how: Load,
    pub connected: usize,
    pub last_connect_seconds: f64,
    pub connects_per_second: f64,
    /// Pairs whose views were right.
    pub pairs_right: usize,
    pub last_right_view_seconds: f64,
    /// Each connect, with its check of the token.
    pub connect_ms: Latencies,
    /// Each pair, from its first connect.
    pub right_view_ms: Latencies,
}

/// The phase updates.
#[derive(Debug, Serialize)]
pub struct Updates {
    pub per_second: f64,
    pub for_seconds: f64,
    pub due: u64,
    pub sent: u64,
    /// Updates that the partner was told, or was told a later one instead.
    pub heard: u64,
    /// Those of them for which it was told a later one.
    pub merged: u64,
    /// From the moment that it was due until the frame was read off the partner's websocket.
    pub latency_ms: Latencies,
    /// The most that a request left later than it was due: what this program, and not the proxies, is to blame for.
    pub late_ms_max: f64,
}

/// The phase check.
#[derive(Debug, Serialize)]
pub struct Check {
    pub peers: usize,
    /// Last words about other peers that were compared with the tables.
    pub words: usize,
    pub seconds: f64,
}

/// A runner that failed.
#[derive(Debug, Clone, Serialize)]
pub struct Failure {
    pub peer: Uuid,
    pub name: String,
    pub role: &'static str,
    /// None: the hub.
    pub pair: Option<usize>,
    pub phase: &'static str,
    pub after_seconds: f64,
    pub error: String,
}

/// How long a phase took.
#[derive(Debug, Serialize)]
pub struct Phase {
    pub name: &'static str,
    pub seconds: f64,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { peer, name, role, phase, after_seconds, error, .. } = self;
        let pair = self.pair.map(|pair| format!(" of pair {pair}")).unwrap_or_default();
        write!(f, "{role} {name} ({peer}){pair}, in {phase} after {after_seconds:.1} s: {error}")
    }
}

/// The figures for people.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pairs, peers, load, .. } = self;
        let hub = if self.hub { " and a hub" } else { "" };
        writeln!(f, "peers    {peers}: {pairs} pairs{hub}, seed {}", self.seed)?;
        for Route { url, peers, coordinators } in &self.proxies {
            writeln!(f, "proxy    {url}: {peers} peers on {}", coordinators.join(", "))?;
        }
        writeln!(
            f,
            "load     {} connected in {:.2} s ({:.0} a second); {} pairs right, the last after {:.2} s",
            load.connected,
            load.last_connect_seconds,
            load.connects_per_second,
            load.pairs_right,
            load.last_right_view_seconds
        )?;
        writeln!(f, "  connect      {}", load.connect_ms)?;
        writeln!(f, "  right views  {}", load.right_view_ms)?;
        if let Some(updates) = &self.updates {
            let Updates { per_second, for_seconds, due, sent, heard, merged, latency_ms, late_ms_max } = updates;
            writeln!(
                f,
                "updates  {per_second} a second for {for_seconds} s: {due} due, {sent} sent, {heard} heard ({merged} merged)"
            )?;
            writeln!(f, "  due to heard {latency_ms}")?;
            writeln!(f, "  sent late    max {late_ms_max:.1} ms")?;
        }
        if let Some(Check { peers, words, seconds }) = &self.check {
            writeln!(f, "check    {peers} peers agree with the tables in {words} views, after {seconds:.2} s")?;
        }
        Ok(())
    }
}

/// What is printed of a run whatever becomes of it.
#[derive(Debug)]
pub struct Summary<'a>(pub &'a Report);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { ended, passed, failed, unfinished, failures, phases, seconds, .. } = self.0;
        let ended = match ended {
            Ended::Passed => "passed",
            Ended::Failed => "failed",
            Ended::Cancelled => "cancelled",
            Ended::TimedOut => "timed out",
        };
        write!(f, "summary: {ended} after {seconds:.1} s: {passed} runners passed, {failed} failed")?;
        if *unfinished > 0 {
            write!(f, ", {unfinished} unfinished")?;
        }
        for (place, Phase { name, seconds }) in phases.iter().enumerate() {
            write!(f, "{}{name} {seconds:.1} s", if place == 0 { "\n  " } else { ", " })?;
        }
        for failure in failures {
            write!(f, "\n  failure: {failure}")?;
        }
        match failed.saturating_sub(failures.len()) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} failures more (--max-failures)"),
        }
    }
}
