//! What the phases of a run write down as they go, so that it is there when the run is cut off.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    latencies::Latencies,
    member::Member,
    options::Coordinate,
    report::{Ended, Loading, Phase, Report, Updates},
};

/// Shared by all runners.
#[derive(Debug)]
pub struct Record {
    begun: Instant,
    max_failures: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    report: Report,
    /// The phase that is under way.
    phase: Option<(&'static str, Instant)>,
}

impl Record {
    /// Of a run that begins.
    pub fn new(options: &Coordinate, seed: u64, network: &str) -> Self {
        let load = Loading {
            how: options.load,
            connected: 0,
            last_connect_seconds: 0.0,
            connects_per_second: 0.0,
            pairs_right: 0,
            last_right_view_seconds: 0.0,
            connect_ms: Latencies::default(),
            right_view_ms: Latencies::default(),
        };
        let report = Report {
            ended: Ended::Failed,
            error: None,
            seed,
            network: network.to_owned(),
            pairs: options.peers as usize,
            hub: options.hub,
            peers: options.sockets(),
            proxies: Vec::new(),
            load,
            updates: None,
            check: None,
            passed: 0,
            failed: 0,
            unfinished: options.peers as usize + usize::from(options.hub),
            failures: Vec::new(),
            phases: Vec::new(),
            seconds: 0.0,
        };
        let inner = Mutex::new(Inner { report, phase: None });
        Self { begun: Instant::now(), max_failures: options.max_failures, inner }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is written down.
    pub fn write<T>(&self, change: impl FnOnce(&mut Report) -> T) -> T {
        change(&mut self.lock().report)
    }

    /// A phase begins, and with it the one before ends.
    pub fn phase(&self, name: &'static str) {
        let mut inner = self.lock();
        inner.end_phase();
        inner.phase = Some((name, Instant::now()));
    }

    /// A websocket was opened.
    pub fn connected(&self, took: Duration) {
        let mut inner = self.lock();
        let since = inner.seconds();
        let load = &mut inner.report.load;
        load.connect_ms.add(took);
        load.connected += 1;
        load.last_connect_seconds = since;
        load.connects_per_second = load.connected as f64 / since;
    }

    /// A pair that began to connect at `begun` was told the last that it must be told.
    pub fn met(&self, begun: Instant, last: Instant) {
        let mut inner = self.lock();
        let since = inner.phase.map_or(Duration::ZERO, |(_, phase)| last.saturating_duration_since(phase));
        let load = &mut inner.report.load;
        load.right_view_ms.add(last.saturating_duration_since(begun));
        load.pairs_right += 1;
        load.last_right_view_seconds = load.last_right_view_seconds.max(since.as_secs_f64());
    }

    /// The hub was told the last that it must be told.
    pub fn hub_met(&self) {
        let mut inner = self.lock();
        let since = inner.seconds();
        let load = &mut inner.report.load;
        load.last_right_view_seconds = load.last_right_view_seconds.max(since);
    }

    /// The phase updates, if it has begun.
    pub fn updates(&self, change: impl FnOnce(&mut Updates)) {
        self.write(|report| report.updates.as_mut().map(change));
    }

    /// A runner failed. The first ones are logged, too: the end of a long run may be far away.
    pub fn fail(&self, member: &Member, error: &anyhow::Error) {
        let error = format!("{error:#}");
        let mut inner = self.lock();
        let phase = inner.phase.map_or("", |(name, _)| name);
        let failure = member.failure(phase, self.begun.elapsed().as_secs_f64(), error);
        inner.report.failed += 1;
        inner.report.unfinished = inner.report.unfinished.saturating_sub(1);
        let is_shown = inner.report.failures.len() < self.max_failures;
        if is_shown {
            inner.report.failures.push(failure.clone());
        }
        drop(inner);
        member.span.in_scope(|| match is_shown {
            true => tracing::warn!(phase, "failed: {}", failure.error),
            false => tracing::debug!(phase, "failed: {}", failure.error),
        });
    }

    /// How far the run came.
    pub fn how_far(&self) -> String {
        let inner = self.lock();
        let Report { load, pairs, updates, .. } = &inner.report;
        let (seconds, since) = (self.begun.elapsed().as_secs_f64(), inner.seconds());
        let part = match (inner.phase, updates) {
            (Some(("load", _)), _) => format!("in load, with {} of {pairs} pairs right", load.pairs_right),
            (Some(("updates", _)), Some(updates)) => {
                format!("in updates, after {since:.1} s of {:.1} s", updates.for_seconds)
            }
            (Some((name, _)), _) => format!("in {name}"),
            (None, _) => "before the first phase".to_owned(),
        };
        format!("after {seconds:.1} s, {part}")
    }

    /// The run is over.
    pub fn finish(&self, ended: Ended, error: Option<String>) {
        let mut inner = self.lock();
        inner.end_phase();
        let report = &mut inner.report;
        (report.ended, report.error, report.seconds) = (ended, error, self.begun.elapsed().as_secs_f64());
    }
}

impl Inner {
    /// Since the phase began.
    fn seconds(&self) -> f64 {
        self.phase.map_or(0.0, |(_, begun)| begun.elapsed().as_secs_f64())
    }

    fn end_phase(&mut self) {
        if let Some((name, begun)) = self.phase.take() {
            self.report.phases.push(Phase { name, seconds: begun.elapsed().as_secs_f64() });
        }
    }
}
