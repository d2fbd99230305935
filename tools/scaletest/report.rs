//! The figures of a run: `docs/operations.md` says what each field of the JSON is.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
};

use serde::Serialize;
use uuid::Uuid;

use crate::{figures::Figures, metrics::Metrics, who::Who};

/// What happened, as far as the run came.
#[derive(Debug, Serialize)]
pub struct Report<F> {
    pub ended: Ended,
    /// None: the run passed.
    pub error: Option<String>,
    pub seed: u64,
    pub network: String,
    pub pairs: usize,
    pub peers: usize,
    pub proxies: Vec<Route>,
    #[serde(flatten)]
    pub figures: F,
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

/// A runner that failed.
#[derive(Debug, Clone, Serialize)]
pub struct Failure {
    #[serde(flatten)]
    pub who: Who,
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

impl Route {
    /// One for each URL, with the coordinators of those `(peer, URL)` that were sent there.
    pub fn all<'a>(
        urls: &[String],
        peers: impl Iterator<Item = (Uuid, &'a str)>,
        sessions: &HashMap<Uuid, String>,
    ) -> Vec<Self> {
        let mut routes: Vec<(&String, usize, BTreeSet<&String>)> =
            urls.iter().map(|url| (url, 0, BTreeSet::new())).collect();
        for (peer, to) in peers {
            if let Some((_, peers, coordinators)) = routes.iter_mut().find(|(url, ..)| *url == to) {
                *peers += 1;
                coordinators.extend(sessions.get(&peer));
            }
        }
        let route = |(url, peers, coordinators): (&String, usize, BTreeSet<&String>)| Self {
            url: url.clone(),
            peers,
            coordinators: coordinators.into_iter().cloned().collect(),
        };
        routes.into_iter().map(route).collect()
    }
}

impl<F> Report<F> {
    /// All that take part.
    pub fn runners(&self) -> usize {
        self.passed + self.failed + self.unfinished
    }

    /// Shows what became of them.
    pub fn show(&self, metrics: &Metrics) {
        metrics.runners(self.unfinished, self.passed, self.failed);
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { who, phase, after_seconds, error } = self;
        write!(f, "{who}, in {phase} after {after_seconds:.1} s: {error}")
    }
}

/// The figures for people.
impl<F: Figures> fmt::Display for Report<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pairs, peers, seed, .. } = self;
        let hub = if *peers > 2 * pairs { " and a hub" } else { "" };
        writeln!(f, "peers    {peers}: {pairs} pairs{hub}, seed {seed}")?;
        for Route { url, peers, coordinators } in &self.proxies {
            writeln!(f, "proxy    {url}: {peers} peers on {}", coordinators.join(", "))?;
        }
        write!(f, "{}", self.figures)
    }
}

/// What is printed of a run whatever becomes of it.
#[derive(Debug)]
pub struct Summary<'a, F>(pub &'a Report<F>);

impl<F: Figures> fmt::Display for Summary<'_, F> {
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
        if let Some(figures) = self.0.figures.in_short() {
            write!(f, "\n  {figures}")?;
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
