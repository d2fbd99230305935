//! Phase: agents change their nodes at a steady rate.
//!
//! The load is open: when a change is due follows from the rate alone, and its latency counts from that moment. A
//! program that waited for one answer before the next request would ask a slow proxy less, and so hide that it is slow.

use std::{sync::Arc, time::Duration};

use rand::{SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use tokio::time::{Instant, sleep_until};

use super::{
    figures::{Coordination, Updates},
    load::each,
    options::Coordinate,
    pair::{Event, Pair},
};
use crate::{latencies::Latencies, run::Run};

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
        figures.updates = Some(Updates {
            per_second: options.updates_per_second,
            for_seconds: options.span.as_secs_f64(),
            due: 0,
            sent: 0,
            heard: 0,
            merged: 0,
            latency_ms: Latencies::default(),
            late_ms_max: 0.0,
        });
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
        let begun = Instant::now();
        for (number, sender) in (0..due(options)).zip(senders.iter().cycle()) {
            let at = begun + Duration::from_secs_f64(number as f64 / options.updates_per_second);
            sleep_until(at).await;
            // A pair that failed sends nothing: more will be due than sent.
            let _ = sender.send(Event::Due(at.into_std()));
            record.updates(|updates| updates.due += 1);
            progress.step();
        }
        for sender in &senders {
            let _ = sender.send(Event::Over);
        }
    };
    tokio::join!(updating, schedule).0
}
