//! Phase: all peers connect and meet.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::{figures::Coordination, hub::Hub, options::Coordinate, pair::Pair};
use crate::run::Run;

/// Returns the pairs when each has met or failed.
pub async fn run(
    pairs: Vec<Pair>,
    hub: Option<&mut Hub>,
    options: &Coordinate,
    Run { record, progress, tasks, .. }: &Run<Coordination>,
) -> Vec<Pair> {
    let (patience, begun) = (options.common.job_timeout, Instant::now());
    let permits = Arc::new(Semaphore::new(options.common.permits()));
    let agents: Vec<Uuid> = pairs.iter().map(|pair| pair.agent.id).collect();
    let loading = each(pairs, tasks, |mut pair| {
        let (record, progress, permits) = (Arc::clone(record), progress.clone(), Arc::clone(&permits));
        let start = begun + options.start_of(pair.number);
        async move {
            sleep_until(start).await;
            let outcome = pair.load(patience, &permits, &record).await;
            pair.passed(outcome, &record);
            progress.step();
            pair
        }
    });
    let Some(hub) = hub else { return loading.await };
    let (pairs, opened) = tokio::join!(loading, hub.open(&agents, patience, record));
    // Those that failed to connect will not come.
    let met: Vec<Uuid> = pairs.iter().filter(|pair| !pair.has_failed).map(|pair| pair.agent.id).collect();
    let outcome = match opened {
        Ok(()) => hub.await_all(&met, patience).await,
        failed => failed,
    };
    match outcome {
        Ok(()) => record.hub_met(),
        Err(error) => {
            hub.has_failed = true;
            hub.member.fail(record, &error);
        }
    }
    pairs
}

/// Calls `act` for each number below `count` at its time: so many a second from now on. The load is open: a program that
/// waited for one answer before the next request would ask a slow proxy less, and so hide that it is slow.
pub async fn paced(count: u64, per_second: f64, mut act: impl FnMut(usize, Instant)) {
    let begun = Instant::now();
    for number in 0..count {
        let at = begun + Duration::from_secs_f64(number as f64 / per_second);
        sleep_until(at).await;
        act(number as usize, at);
    }
}

/// Lets all pairs work side by side. When this is dropped, they stop.
pub async fn each<T, F>(pairs: Vec<T>, tasks: &TaskTracker, work: impl Fn(T) -> F) -> Vec<Pair>
where
    F: Future<Output = Pair> + Send + 'static,
{
    let mut working = JoinSet::new();
    for pair in pairs {
        working.spawn(tasks.track_future(work(pair)));
    }
    let mut pairs = working.join_all().await;
    pairs.sort_unstable_by_key(|pair| pair.number);
    pairs
}
