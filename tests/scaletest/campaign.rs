//! One run from beginning to end.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, anyhow, bail};
use tokio::{task::JoinSet, time::timeout};

use crate::{
    check,
    endings::Endings,
    files,
    hub::Hub,
    identities::Identities,
    load,
    options::{Coordinate, Load},
    pair::Pair,
    progress::Progress,
    record::Record,
    report::{Ended, Summary},
    updates,
};

/// How long the cleanup may take: Postgres may be what the run has brought down.
const CLEANUP_TIMEOUT: Duration = Duration::from_secs(120);

/// Runs it, and prints the summary whatever becomes of it.
///
/// # Errors
/// When a runner failed, or the run did not come to its end.
pub async fn run(options: Coordinate, progress: Progress) -> Result<()> {
    // No larger, so that every reader of JSON gets it as it is.
    let seed = options.seed.unwrap_or_else(|| rand::random::<u32>().into());
    let network = format!("scaletest-{seed}-{:08x}", rand::random::<u32>());
    let record = Arc::new(Record::new(&options, seed, &network));
    let identities = Identities::new(options.database_url.clone(), network);
    let options = Arc::new(options);
    let mut endings = Endings::new(options.timeout)?;
    progress.line(&format!("scaletest: {} peers in network {}", options.sockets(), identities.network()));

    let (mut ended, mut outcome) = tokio::select! {
        // What is dropped ends its tasks.
        done = phases(&options, seed, &identities, &record, &progress) => match done {
            Ok(()) => (Ended::Passed, Ok(())),
            Err(error) => (Ended::Failed, Err(error)),
        },
        ended = endings.next() => {
            let what = if ended == Ended::Cancelled { "cancelled" } else { "stopped by --timeout" };
            (ended, Err(anyhow!("{what} {}", record.how_far())))
        }
    };
    record.phase("cleanup");
    progress.phase("cleanup", 1);
    if let Err(error) = clean_up(&identities, &mut endings).await {
        let left = error.context(format!("the network {} is left: see --help", identities.network()));
        tracing::error!("{left:#}");
        if outcome.is_ok() {
            (ended, outcome) = (Ended::Failed, Err(left));
        }
    }
    progress.finish();

    record.finish(ended, outcome.as_ref().err().map(|error| format!("{error:#}")));
    record.write(|report| {
        eprintln!("{}", Summary(report));
        for output in &options.outputs {
            // One that cannot be written must not keep the others from being written.
            let written = output.write(report);
            if outcome.is_ok() {
                outcome = written;
            } else if let Err(error) = written {
                tracing::error!("{error:#}");
            }
        }
    });
    outcome
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

async fn phases(
    options: &Arc<Coordinate>,
    seed: u64,
    identities: &Identities,
    record: &Arc<Record>,
    progress: &Progress,
) -> Result<()> {
    files::make_room(options.sockets())?;
    record.phase("identities");
    progress.phase("identities", 1);
    let coordinators = identities.coordinators().await?;
    let made = identities.make(options.peers as usize, options.hub).await?;
    let mut hub = made.hub.map(|identity| Hub::new(identity, &options.proxies[0]));
    let hub_id = hub.as_ref().map(|hub| hub.member.id);
    let url = |place: usize| options.proxies[place % options.proxies.len()].as_str();
    let pairs = made.pairs.into_iter().enumerate();
    let mut pairs: Vec<Pair> =
        pairs.map(|(number, ends)| Pair::new(number, ends, [url(number), url(number + 1)], hub_id)).collect();

    record.phase("load");
    let how = match options.load {
        Load::Storm => "all at once".to_owned(),
        Load::Ramp => format!("over {}", humantime::format_duration(options.ramp_time)),
    };
    progress.phase(&format!("load: {} pairs, {how}", pairs.len()), pairs.len() as u64);
    pairs = load::run(pairs, hub.as_mut(), options, record, progress).await;
    if no_failures(record).is_ok() && updates::due(options) > 0 {
        record.phase("updates");
        let span = humantime::format_duration(options.span);
        let name = format!("updates: {} a second for {span}", options.updates_per_second);
        progress.phase(&name, updates::due(options));
        pairs = updates::run(pairs, options, seed, record, progress).await;
    }

    record.phase("check");
    progress.phase("check", 1);
    check::sockets(&mut pairs, hub.as_mut(), record);
    let checked = match no_failures(record) {
        Ok(()) => {
            let checked = check::views(&pairs, hub.as_ref(), identities, &coordinators, options, record).await;
            if checked.is_ok() {
                record.write(|report| (report.passed, report.unfinished) = (report.unfinished, 0));
            }
            checked
        }
        // The others saw it fail: what they must have been told is another question.
        failed => {
            record.write(|report| (report.passed, report.unfinished) = (report.unfinished, 0));
            failed
        }
    };

    record.phase("goodbye");
    progress.phase("goodbye", 1);
    let mut leaving = JoinSet::new();
    for member in pairs.into_iter().flat_map(|pair| [pair.agent, pair.client]).chain(hub.map(|hub| hub.member)) {
        let mut peer = member.peer;
        leaving.spawn(async move { peer.disconnect().await });
    }
    leaving.join_all().await;
    checked
}

fn no_failures(record: &Record) -> Result<()> {
    let (failed, all) = record.write(|report| (report.failed, report.pairs + usize::from(report.hub)));
    match failed {
        0 => Ok(()),
        _ => bail!("{failed} of {all} runners failed"),
    }
}
