//! Phase: all peers connect and meet.

use std::sync::Arc;

use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep_until},
};
use uuid::Uuid;

use crate::{hub::Hub, options::Coordinate, pair::Pair, progress::Progress, record::Record};

/// Returns the pairs when each has met or failed.
pub async fn run(
    pairs: Vec<Pair>,
    hub: Option<&mut Hub>,
    options: &Arc<Coordinate>,
    record: &Arc<Record>,
    progress: &Progress,
) -> Vec<Pair> {
    let limit = if options.concurrency == 0 { options.peers } else { options.concurrency };
    let (permits, begun) = (Arc::new(Semaphore::new(limit as usize)), Instant::now());
    let agents: Vec<Uuid> = pairs.iter().map(|pair| pair.agent.id).collect();
    let loading = each(pairs, |mut pair| {
        let (options, record, progress) = (Arc::clone(options), Arc::clone(record), progress.clone());
        let permits = Arc::clone(&permits);
        async move {
            sleep_until(begun + options.start_of(pair.number)).await;
            let outcome = pair.load(options.job_timeout, &permits, &record).await;
            pair.passed(outcome, &record);
            progress.step();
            pair
        }
    });
    let Some(hub) = hub else { return loading.await };
    let (pairs, opened) = tokio::join!(loading, hub.open(&agents, options.job_timeout, record));
    // Those that failed to connect will not come.
    let met: Vec<Uuid> = pairs.iter().filter(|pair| !pair.has_failed).map(|pair| pair.agent.id).collect();
    let outcome = match opened {
        Ok(()) => hub.await_all(&met, options.job_timeout).await,
        failed => failed,
    };
    match outcome {
        Ok(()) => record.hub_met(),
        Err(error) => {
            hub.has_failed = true;
            record.fail(&hub.member, &error);
        }
    }
    pairs
}

/// Lets all pairs work side by side. When this is dropped, they stop.
pub async fn each<F>(pairs: Vec<Pair>, work: impl Fn(Pair) -> F) -> Vec<Pair>
where
    F: Future<Output = Pair> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for pair in pairs {
        tasks.spawn(work(pair));
    }
    let mut pairs = tasks.join_all().await;
    pairs.sort_unstable_by_key(|pair| pair.number);
    pairs
}
