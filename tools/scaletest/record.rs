//! What the phases of a run write down as they go, so that it is there when the run is cut off.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use crate::{
    figures::Figures,
    metrics::Metrics,
    report::{Ended, Failure, Phase, Report},
    who::Who,
};

/// Shared by all runners.
#[derive(Debug)]
pub struct Record<F> {
    /// For who looks on.
    pub metrics: Arc<Metrics>,
    begun: Instant,
    max_failures: usize,
    inner: Mutex<Inner<F>>,
}

#[derive(Debug)]
struct Inner<F> {
    report: Report<F>,
    /// The phase that is under way.
    phase: Option<(&'static str, Instant)>,
}

impl<F: Figures> Record<F> {
    /// Of a run that begins.
    pub fn new(report: Report<F>, max_failures: usize, metrics: Arc<Metrics>) -> Self {
        report.show(&metrics);
        Self { metrics, begun: Instant::now(), max_failures, inner: Mutex::new(Inner { report, phase: None }) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<F>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is written down.
    pub fn write<T>(&self, change: impl FnOnce(&mut Report<F>) -> T) -> T {
        change(&mut self.lock().report)
    }

    /// Changes the figures; gets the beginning of the phase that is under way, or of the run.
    pub fn note<T>(&self, change: impl FnOnce(&mut F, Instant) -> T) -> T {
        let mut inner = self.lock();
        let begun = inner.phase.map_or(self.begun, |(_, begun)| begun);
        change(&mut inner.report.figures, begun)
    }

    /// A phase begins, and with it the one before ends.
    pub fn phase(&self, name: &'static str) {
        let mut inner = self.lock();
        inner.end_phase();
        inner.phase = Some((name, Instant::now()));
        self.metrics.phase(name);
    }

    /// A websocket was opened.
    pub fn connected(&self, took: Duration) {
        self.note(|figures, phase| figures.connects().add(took, phase.elapsed()));
        self.metrics.connect_seconds.observe(took.as_secs_f64());
    }

    /// A runner passed.
    pub fn pass(&self) {
        self.write(|report| {
            report.passed += 1;
            report.unfinished = report.unfinished.saturating_sub(1);
            report.show(&self.metrics);
        });
    }

    /// A runner failed; `span` is that of `who`. The first ones are logged, too: the end of a long run may be far away.
    pub fn fail(&self, who: Who, span: &tracing::Span, error: &anyhow::Error) {
        let error = format!("{error:#}");
        let mut inner = self.lock();
        let phase = inner.phase.map_or("", |(name, _)| name);
        let failure = Failure { who, phase, after_seconds: self.begun.elapsed().as_secs_f64(), error };
        inner.report.failed += 1;
        inner.report.unfinished = inner.report.unfinished.saturating_sub(1);
        inner.report.show(&self.metrics);
        let is_shown = inner.report.failures.len() < self.max_failures;
        if is_shown {
            inner.report.failures.push(failure.clone());
        }
        drop(inner);
        span.in_scope(|| match is_shown {
            true => tracing::warn!(phase, "failed: {}", failure.error),
            false => tracing::debug!(phase, "failed: {}", failure.error),
        });
    }

    /// Whether no runner has failed so far.
    ///
    /// # Errors
    /// When some have.
    pub fn no_failures(&self) -> Result<()> {
        match self.write(|report| (report.failed, report.runners())) {
            (0, _) => Ok(()),
            (failed, all) => bail!("{failed} of {all} runners failed"),
        }
    }

    /// All that did not fail have passed.
    pub fn pass_the_others(&self) {
        self.write(|report| {
            report.passed += report.unfinished;
            report.unfinished = 0;
            report.show(&self.metrics);
        });
    }

    /// How far the run came.
    pub fn how_far(&self) -> String {
        let seconds = self.begun.elapsed().as_secs_f64();
        let inner = self.lock();
        let Report { figures, pairs, .. } = &inner.report;
        let part = inner.phase.map_or("before the first phase".to_owned(), |(name, begun)| {
            let more = figures.how_far(name, begun.elapsed().as_secs_f64(), *pairs);
            format!("in {name}{}", more.map(|more| format!(", {more}")).unwrap_or_default())
        });
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

impl<F> Inner<F> {
    fn end_phase(&mut self) {
        if let Some((name, begun)) = self.phase.take() {
            self.report.phases.push(Phase { name, seconds: begun.elapsed().as_secs_f64() });
        }
    }
}
