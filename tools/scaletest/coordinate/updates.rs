//! Phase: agents change their nodes at a steady rate. The latency of a change counts from the moment that it was due.

use std::sync::Arc;

use rand::{SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};

use super::{
    figures::{Coordination, Updates},
    load::{each, paced},
    options::Coordinate,
    pair::{Event, Pair},
};
use crate::run::Run;

/// How many changes are due.
pub fn due(options: &Coordinate) -> u64 {
    (options.updates_per_second * options.span.as_secs_f64()).round() as u64
}

/// Returns the pairs when each was told all changes, or failed.
pub async fn run(
    pairs: Vec<Pair>,
    options: &Coordinate,
    Run { seed, record, progress, tasks, .. }: &Run<Coordination>,
) -> Vec<Pair> {
    let patience = options.common.job_timeout;
    let mut senders: Vec<_> = pairs.iter().map(Pair::sender).collect();
    senders.shuffle(&mut StdRng::seed_from_u64(*seed));
    record.note(|figures, _| {
        let (per_second, for_seconds) = (options.updates_per_second, options.span.as_secs_f64());
        figures.updates = Some(Updates { per_second, for_seconds, ..Updates::default() });
    });
    let updating = each(pairs, tasks, |mut pair| {
        let record = Arc::clone(record);
        async move {
            let outcome = pair.update(patience, &record).await;
            pair.passed(outcome, &record);
            pair
        }
    });
    let schedule = async {
        paced(due(options), options.updates_per_second, |number, at| {
            // A pair that failed sends nothing: more will be due than sent.
            let _ = senders[number % senders.len()].send(Event::Due(at.into_std()));
            record.updates(|updates| updates.due += 1);
            progress.step();
        })
        .await;
        for sender in &senders {
            let _ = sender.send(Event::Over);
        }
    };
    tokio::join!(updating, schedule).0
}
