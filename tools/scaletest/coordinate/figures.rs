//! What `coordinate` measures.

use std::{
    fmt,
    time::{Duration, Instant},
};

use serde::Serialize;
use tailnet_tools::latencies::Latencies;

use super::options::{Coordinate, Load};
use crate::{
    figures::{Connects, Figures},
    record::Record,
};

/// Its part of the report.
#[derive(Debug, Serialize)]
pub struct Coordination {
    pub hub: bool,
    pub load: Loading,
    pub updates: Option<Updates>,
    pub churn: Option<Churn>,
    pub check: Option<Check>,
}

/// The phase load. Its times count from its beginning.
#[derive(Debug, Serialize)]
pub struct Loading {
    pub how: Load,
    #[serde(flatten)]
    pub connects: Connects,
    /// Pairs whose views were right.
    pub pairs_right: usize,
    pub last_right_view_seconds: f64,
    /// Each pair, from its first connect.
    pub right_view_ms: Latencies,
}

/// The phase updates.
#[derive(Debug, Default, Serialize)]
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

/// The phase churn.
#[derive(Debug, Default, Serialize)]
pub struct Churn {
    pub per_second: f64,
    pub for_seconds: f64,
    pub due: u64,
    pub goodbyes: u64,
    /// Websockets that were closed without a goodbye.
    pub vanished: u64,
    pub tunnels_closed: u64,
    /// Those of all these after which the peer and its partner were told all that they must be told.
    pub right_again: u64,
    /// Each connect, with its check of the token.
    pub reconnect_ms: Latencies,
    /// From the moment that it was due to leave until the last of what must be told.
    pub right_again_ms: Latencies,
    /// The most that a peer left later than it was due: it may have been away still.
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

impl Coordination {
    /// Of a run that begins.
    pub fn new(options: &Coordinate) -> Self {
        let load = Loading {
            how: options.load,
            connects: Connects::default(),
            pairs_right: 0,
            last_right_view_seconds: 0.0,
            right_view_ms: Latencies::default(),
        };
        Self { hub: options.hub, load, updates: None, churn: None, check: None }
    }
}

impl Figures for Coordination {
    fn connects(&mut self) -> &mut Connects {
        &mut self.load.connects
    }

    fn how_far(&self, phase: &str, seconds: f64, pairs: usize) -> Option<String> {
        let span = match phase {
            "load" => return Some(format!("with {} of {pairs} pairs right", self.load.pairs_right)),
            "updates" => self.updates.as_ref()?.for_seconds,
            "churn" => self.churn.as_ref()?.for_seconds,
            _ => return None,
        };
        Some(format!("after {seconds:.1} s of {span:.1} s"))
    }
}

impl Record<Coordination> {
    /// A pair that began to connect at `begun` was told the last that it must be told.
    pub fn met(&self, begun: Instant, last: Instant) {
        self.note(|Coordination { load, .. }, phase| {
            load.right_view_ms.add(last.saturating_duration_since(begun));
            load.pairs_right += 1;
            load.last_right_view(last.saturating_duration_since(phase));
        });
    }

    /// The hub was told the last that it must be told.
    pub fn hub_met(&self) {
        self.note(|figures, phase| figures.load.last_right_view(phase.elapsed()));
    }

    /// The phase churn, if it has begun.
    pub fn churn(&self, change: impl FnOnce(&mut Churn)) {
        self.note(|figures, _| figures.churn.as_mut().map(change));
    }

    /// The phase updates, if it has begun.
    pub fn updates(&self, change: impl FnOnce(&mut Updates)) {
        self.note(|figures, _| figures.updates.as_mut().map(change));
    }
}

impl Loading {
    fn last_right_view(&mut self, since: Duration) {
        self.last_right_view_seconds = self.last_right_view_seconds.max(since.as_secs_f64());
    }
}

/// The figures for people.
impl fmt::Display for Coordination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Loading { connects, pairs_right, last_right_view_seconds, right_view_ms, .. } = &self.load;
        writeln!(f, "load     {connects}; {pairs_right} pairs right, the last after {last_right_view_seconds:.2} s")?;
        writeln!(f, "  connect      {}", connects.connect_ms)?;
        writeln!(f, "  right views  {right_view_ms}")?;
        if let Some(updates) = &self.updates {
            let Updates { per_second, for_seconds, due, sent, heard, merged, latency_ms, late_ms_max } = updates;
            writeln!(
                f,
                "updates  {per_second} a second for {for_seconds} s: {due} due, {sent} sent, {heard} heard ({merged} merged)"
            )?;
            writeln!(f, "  due to heard {latency_ms}")?;
            writeln!(f, "  sent late    max {late_ms_max:.1} ms")?;
        }
        if let Some(churn) = &self.churn {
            let Churn { per_second, for_seconds, due, goodbyes, vanished, tunnels_closed, right_again, .. } = churn;
            writeln!(
                f,
                "churn    {per_second} a second for {for_seconds} s: {due} due, {goodbyes} goodbyes, {vanished} vanished, \
                 {tunnels_closed} tunnels closed, {right_again} right again"
            )?;
            writeln!(f, "  reconnect    {}", churn.reconnect_ms)?;
            writeln!(f, "  right again  {}", churn.right_again_ms)?;
            writeln!(f, "  left late    max {:.1} ms", churn.late_ms_max)?;
        }
        if let Some(Check { peers, words, seconds }) = &self.check {
            writeln!(f, "check    {peers} peers agree with the tables in {words} views, after {seconds:.2} s")?;
        }
        Ok(())
    }
}
