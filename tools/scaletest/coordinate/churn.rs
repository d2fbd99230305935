//! Phase: peers leave and come back at a steady rate.

use std::sync::Arc;

use rand::{
    SeedableRng as _,
    rngs::StdRng,
    seq::{IndexedRandom as _, SliceRandom as _},
};
use tokio::{sync::mpsc, time::Instant};

use super::{
    departure::Departure,
    figures::{Churn, Coordination},
    load::{each, paced},
    options::{Coordinate, Way},
    pair::{End, Pair},
};
use crate::run::Run;

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
        let (per_second, for_seconds) = (options.churn, options.churn_for.as_secs_f64());
        figures.churn = Some(Churn { per_second, for_seconds, ..Churn::default() });
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
        paced(due(options), options.churn, |number, at| {
            let (end, sender) = &leaving[number % leaving.len()];
            let way = *options.churn_by.choose(&mut rng).expect("clap asks for one at least");
            let end = if way == Way::Tunnel { End::Client } else { *end };
            // A pair that failed does nothing: more will be due than done.
            let _ = sender.send(Departure { end, way, due: at.into_std() });
            record.churn(|churn| churn.due += 1);
            progress.step();
        })
        .await;
        drop(leaving);
    };
    tokio::join!(churning, schedule).0
}
