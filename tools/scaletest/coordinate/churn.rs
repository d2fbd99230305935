//! Phase: peers leave and come back at a steady rate. The load is open, as that of the updates.

use std::{sync::Arc, time::Duration};

use rand::{
    SeedableRng as _,
    rngs::StdRng,
    seq::{IndexedRandom as _, SliceRandom as _},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    departure::Departure,
    figures::{Churn, Coordination},
    load::each,
    options::{Coordinate, Way},
    pair::{End, Pair},
};
use crate::{latencies::Latencies, run::Run};

/// How many departures are due.
pub fn due(options: &Coordinate) -> u64 {
    (options.churn * options.churn_for.as_secs_f64()).round() as u64
}

/// Returns the pairs when all is right again after the last departure, or they failed.
pub async fn run(
    pairs: Vec<Pair>,
    options: &Coordinate,
    Run { seed, record, progress, tasks, .. }: &Run<Coordination>,
) -> Vec<Pair> {
    record.note(|figures, _| {
        figures.churn = Some(Churn {
            per_second: options.churn,
            for_seconds: options.churn_for.as_secs_f64(),
            due: 0,
            goodbyes: 0,
            vanished: 0,
            tunnels_closed: 0,
            right_again: 0,
            reconnect_ms: Latencies::default(),
            right_again_ms: Latencies::default(),
            late_ms_max: 0.0,
        });
    });
    let (patience, begun) = (options.common.job_timeout, Instant::now());
    let deadline = begun + options.churn_for + patience;
    let mut leaving = Vec::with_capacity(2 * pairs.len());
    let mut working = Vec::with_capacity(pairs.len());
    for pair in pairs {
        let (sender, departures) = mpsc::unbounded_channel();
        leaving.extend([(End::Agent, sender.clone()), (End::Client, sender)]);
        working.push((pair, departures));
    }
    let churning = each(working, tasks, |(mut pair, departures)| {
        let record = Arc::clone(record);
        async move {
            let outcome = pair.churn(departures, patience, deadline, &record).await;
            pair.passed(outcome, &record);
            pair
        }
    });
    let schedule = async {
        let mut rng = StdRng::seed_from_u64(*seed);
        leaving.shuffle(&mut rng);
        for (number, (end, sender)) in (0..due(options)).zip(leaving.iter().cycle()) {
            let at = begun + Duration::from_secs_f64(number as f64 / options.churn);
            let way = *options.churn_by.choose(&mut rng).expect("clap asks for one at least");
            let end = if way == Way::Tunnel { End::Client } else { *end };
            sleep_until(at).await;
            // A pair that failed does nothing: more will be due than done.
            let _ = sender.send(Departure { end, way, due: at.into_std() });
            record.churn(|churn| churn.due += 1);
            progress.step();
        }
        drop(leaving);
    };
    tokio::join!(churning, schedule).0
}
