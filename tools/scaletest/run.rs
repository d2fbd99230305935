//! One run from beginning to end, whatever its peers do.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, anyhow, bail};
use opentelemetry::KeyValue;
use tailnet_tools::program::{Progress, Signals};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::{
    common::Common,
    deadline::Deadline,
    figures::Figures,
    files,
    identities::Identities,
    metrics::Metrics,
    network::Network,
    record::Record,
    report::{Ended, Report, Summary},
    trace::Trace,
};

/// How long the cleanup may take: Postgres may be what the run has brought down.
const CLEANUP_TIMEOUT: Duration = Duration::from_secs(120);

/// What its phases need.
#[derive(Debug)]
pub struct Run<F> {
    /// What is random follows from it.
    pub seed: u64,
    pub identities: Identities,
    pub record: Arc<Record<F>>,
    pub progress: Progress,
    pub deadline: Deadline,
    /// All tasks of its peers, so that none is left when the figures are written.
    pub tasks: TaskTracker,
    pub trace: Trace,
}

impl<F: Figures> Run<F> {
    /// A phase of so many steps begins; `text` says more than its name.
    pub fn phase(&self, name: &'static str, text: &str, steps: u64) {
        self.record.phase(name);
        self.trace.phase(name);
        self.progress.phase(text, steps);
    }
}

/// The part of a run between its beginning and its cleanup.
pub trait Scenario: Send + Sync + 'static {
    /// What it measures.
    type Figures: Figures;

    /// The options that it shares with others.
    fn common(&self) -> &Common;

    /// How many peers, which is to say websockets.
    fn peers(&self) -> usize;

    /// How many of those pass or fail together.
    fn runners(&self) -> usize;

    /// Files that are open at the same time.
    fn files(&self) -> usize {
        self.peers()
    }

    /// The figures of a run that begins.
    fn figures(&self, metrics: &Metrics) -> Self::Figures;

    /// Everything that the peers do. When this is dropped, they stop.
    ///
    /// # Errors
    /// When a runner failed, or nobody could.
    async fn phases(&self, run: &Run<Self::Figures>) -> Result<()>;
}

/// Runs it, and prints the summary whatever becomes of it.
///
/// # Errors
/// When a runner failed, or the run did not come to its end.
pub async fn run<S: Scenario>(scenario: S, progress: Progress) -> Result<()> {
    let Common { access, outputs, max_failures, timeout, seed, metrics_listen, tracing, .. } = scenario.common();
    let deadline = Deadline::new(*timeout);
    let mut signals = Signals::new()?;
    // No larger, so that every reader of JSON gets it as it is.
    let seed = seed.unwrap_or_else(|| rand::random::<u32>().into());
    let network = Network::new(seed);
    let trace = Trace::begin(tracing, scenario.peers(), attributes(&scenario, seed, &network))?;
    let metrics = Arc::new(Metrics::default());
    let report = report(&scenario, seed, &network, &metrics);
    let record = Arc::new(Record::new(report, *max_failures, Arc::clone(&metrics)));
    progress.line(&format!("scaletest: {} peers in network {network}", scenario.peers()));
    let identities = Identities::new(access.database_url.clone(), network);
    let run = Run { seed, identities, record, progress, deadline, tasks: TaskTracker::new(), trace };

    let phases = async {
        let mut serving = None;
        if let Some(address) = *metrics_listen {
            let (at, server) = metrics.serve(address).await?;
            run.progress.line(&format!("metrics: http://{at}/metrics"));
            serving = Some(server);
        }
        files::make_room(scenario.peers(), scenario.files())?;
        let alive = run.identities.connect().await?;
        let outcome = scenario.phases(&run).await;
        drop((serving, alive));
        outcome
    }
    .instrument(run.trace.log_span());
    let (mut ended, mut outcome) = tokio::select! {
        // What is dropped ends its tasks.
        done = phases => match done {
            Ok(()) => (Ended::Passed, Ok(())),
            Err(error) => (Ended::Failed, Err(error)),
        },
        () = signals.next() => (Ended::Cancelled, Err(anyhow!("cancelled {}", run.record.how_far()))),
        () = run.deadline.passed() => (Ended::TimedOut, Err(anyhow!("stopped by --timeout {}", run.record.how_far()))),
    };
    run.tasks.close();
    run.tasks.wait().await;
    run.phase("cleanup", "cleanup", 1);
    if let Err(error) = clean_up(&run.identities, &mut signals).await {
        let left = error.context(format!("the network {} is left: see --help", run.identities.network()));
        tracing::error!("{left:#}");
        if outcome.is_ok() {
            (ended, outcome) = (Ended::Failed, Err(left));
        }
    }
    run.progress.finish();

    run.record.finish(ended, outcome.as_ref().err().map(|error| format!("{error:#}")));
    run.record.write(|report| {
        eprintln!("{}", Summary(report));
        for output in outputs {
            // One that cannot be written must not keep the others from being written.
            let written = output.write(report);
            if outcome.is_ok() {
                outcome = written;
            } else if let Err(error) = written {
                tracing::error!("{error:#}");
            }
        }
    });
    run.trace.finish(outcome.as_ref().err().map(|error| format!("{error:#}"))).await;
    outcome
}

/// What the trace says of the run.
fn attributes<S: Scenario>(scenario: &S, seed: u64, network: &Network) -> Vec<KeyValue> {
    vec![
        KeyValue::new("tailnet.network", network.to_string()),
        KeyValue::new("tailnet.scaletest.seed", seed as i64),
        KeyValue::new("tailnet.scaletest.peers", scenario.peers() as i64),
    ]
}

fn report<S: Scenario>(scenario: &S, seed: u64, network: &Network, metrics: &Metrics) -> Report<S::Figures> {
    Report {
        ended: Ended::Failed,
        error: None,
        seed,
        network: network.to_string(),
        pairs: scenario.common().peers as usize,
        peers: scenario.peers(),
        proxies: Vec::new(),
        figures: scenario.figures(metrics),
        passed: 0,
        failed: 0,
        unfinished: scenario.runners(),
        failures: Vec::new(),
        phases: Vec::new(),
        seconds: 0.0,
    }
}

async fn clean_up(identities: &Identities, signals: &mut Signals) -> Result<()> {
    tokio::select! {
        done = timeout(CLEANUP_TIMEOUT, identities.remove()) => match done {
            Ok(done) => done.context("cannot clean up"),
            Err(_) => bail!("the cleanup took longer than {CLEANUP_TIMEOUT:?}"),
        },
        // A second one: the first ended the run.
        () = signals.next() => bail!("the cleanup was cancelled"),
    }
}
