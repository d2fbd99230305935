//! One run from beginning to end, whatever its peers do.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, anyhow, bail};
use opentelemetry::KeyValue;
use tokio::time::timeout;
use tracing::Instrument as _;

use crate::{
    common::Common,
    endings::Endings,
    files,
    identities::Identities,
    progress::Progress,
    record::Record,
    report::{Ended, Report, Summary},
    scenario::{Figures, Scenario},
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

/// Runs it, and prints the summary whatever becomes of it.
///
/// # Errors
/// When a runner failed, or the run did not come to its end.
pub async fn run<S: Scenario>(scenario: S, progress: Progress) -> Result<()> {
    let Common { access, outputs, max_failures, timeout, seed, tracing, .. } = scenario.common();
    let mut endings = Endings::new(*timeout)?;
    // No larger, so that every reader of JSON gets it as it is.
    let seed = seed.unwrap_or_else(|| rand::random::<u32>().into());
    let network = format!("scaletest-{seed}-{:08x}", rand::random::<u32>());
    let attributes = vec![
        KeyValue::new("tailnet.network", network.clone()),
        KeyValue::new("tailnet.scaletest.seed", seed as i64),
        KeyValue::new("tailnet.scaletest.peers", scenario.peers() as i64),
    ];
    let trace = Trace::begin(tracing, attributes)?;
    let record = Arc::new(Record::new(report(&scenario, seed, &network), *max_failures));
    let identities = Identities::new(access.database_url.clone(), network);
    progress.line(&format!("scaletest: {} peers in network {}", scenario.peers(), identities.network()));
    let run = Run { seed, identities, record, progress, trace };

    let phases = async {
        files::make_room(scenario.peers(), scenario.files())?;
        scenario.phases(&run).await
    }
    .instrument(run.trace.log_span());
    let (mut ended, mut outcome) = tokio::select! {
        // What is dropped ends its tasks.
        done = phases => match done {
            Ok(()) => (Ended::Passed, Ok(())),
            Err(error) => (Ended::Failed, Err(error)),
        },
        ended = endings.next() => {
            let what = if ended == Ended::Cancelled { "cancelled" } else { "stopped by --timeout" };
            (ended, Err(anyhow!("{what} {}", run.record.how_far())))
        }
    };
    run.phase("cleanup", "cleanup", 1);
    if let Err(error) = clean_up(&run.identities, &mut endings).await {
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

fn report<S: Scenario>(scenario: &S, seed: u64, network: &str) -> Report<S::Figures> {
    Report {
        ended: Ended::Failed,
        error: None,
        seed,
        network: network.to_owned(),
        pairs: scenario.common().peers as usize,
        peers: scenario.peers(),
        proxies: Vec::new(),
        figures: scenario.figures(),
        passed: 0,
        failed: 0,
        unfinished: scenario.runners(),
        failures: Vec::new(),
        phases: Vec::new(),
        seconds: 0.0,
    }
}

async fn clean_up(identities: &Identities, endings: &mut Endings) -> Result<()> {
    tokio::select! {
        done = timeout(CLEANUP_TIMEOUT, identities.remove()) => match done {
            Ok(done) => done.context("cannot clean up"),
            Err(_) => bail!("the cleanup took longer than {CLEANUP_TIMEOUT:?}"),
        },
        // A second one: the first ended the run.
        () = endings.signal() => bail!("the cleanup was cancelled"),
    }
}
