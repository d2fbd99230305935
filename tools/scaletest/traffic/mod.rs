//! `traffic`: pairs find each other through the proxies and move bytes over WireGuard.

mod figures;
pub mod options;
mod pair;
mod tally;

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use tailnet_tools::peer::pace::Pace;
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
    time::{Instant, interval_at},
};
use uuid::Uuid;

use self::{
    figures::Flow,
    options::Traffic,
    pair::{Loading, Pair, Shared},
};
use crate::{
    common::Common,
    deadline::Deadline,
    metrics::Metrics,
    report::Route,
    run::{Run, Scenario},
};

/// A step of the progress.
const SECOND: Duration = Duration::from_secs(1);

impl Scenario for Traffic {
    type Figures = Flow;

    fn common(&self) -> &Common {
        &self.common
    }

    fn peers(&self) -> usize {
        2 * self.common.peers as usize
    }

    fn runners(&self) -> usize {
        self.common.peers as usize
    }

    /// Each peer has a UDP socket besides.
    fn files(&self) -> usize {
        2 * self.peers()
    }

    fn figures(&self, metrics: &Metrics) -> Flow {
        Flow::new(self, metrics)
    }

    async fn phases(&self, run: &Run<Flow>) -> Result<()> {
        let Run { identities, record, progress, trace, .. } = run;
        run.phase("identities", "identities", 1);
        let made = identities.make(self.runners(), false).await?.pairs;
        let places: Vec<(Uuid, String)> = (0..)
            .zip(&made)
            .flat_map(|(number, [agent, client])| {
                let [one, other] = self.common.doors(number);
                [(agent.id, one.url), (client.id, other.url)]
            })
            .collect();

        run.phase("load", &format!("load: {} pairs", made.len()), made.len() as u64);
        let shared = Arc::new(Shared {
            seed: run.seed,
            patience: self.common.job_timeout,
            permits: Semaphore::new(self.common.permits()),
            record: Arc::clone(record),
            pace: watch::Sender::new(None),
        });
        let [agents, clients] = ["agent", "client"].map(|role| record.metrics.bytes(role));
        let (loading, mut loaded) = mpsc::channel(1);
        let mut pairs = JoinSet::new();
        for (number, ends) in made.into_iter().enumerate() {
            let pair = Pair::new(number, ends, self.common.doors(number), &agents, &clients, trace);
            let loading = Loading::new(progress, &loading);
            pairs.spawn(run.tasks.track_future(pair.run(Arc::clone(&shared), loading)));
        }
        drop(loading);
        // Nobody sends: it ends when the last has dropped it.
        let _ = loaded.recv().await;
        let ready = record.write(|report| report.figures.load.pairs_ready);
        if ready > 0 {
            let sessions = identities.sessions().await?;
            let routes =
                Route::all(&self.common.proxies, places.iter().map(|(id, url)| (*id, url.as_str())), &sessions);
            record.write(|report| report.proxies = routes);
            let pace = self.pace(&run.deadline);
            self.begin(&pace, ready, run);
            shared.pace.send_replace(Some(pace));
            let passing = async {
                let mut seconds = interval_at(pace.begun + SECOND, SECOND);
                loop {
                    seconds.tick().await;
                    progress.step();
                }
            };
            tokio::select! {
                _ = pairs.join_all() => {}
                () = passing => {}
            }
        } else {
            pairs.join_all().await;
        }
        record.no_failures()
    }
}

impl Traffic {
    /// From now on.
    fn pace(&self, deadline: &Deadline) -> Pace {
        let begun = Instant::now();
        let until = match self.span {
            Some(span) => begun + span,
            None => deadline.lift(),
        };
        Pace { bytes_per_tick: self.bytes_per_tick, tick_interval: self.tick_interval, begun, until }
    }

    /// The phase begins.
    fn begin(&self, pace: &Pace, tunnels: usize, run: &Run<Flow>) {
        let (bytes, tick) = (self.bytes_per_tick, humantime::format_duration(self.tick_interval));
        let span = Duration::from_millis((pace.until - pace.begun).as_millis().try_into().unwrap_or(u64::MAX));
        run.record.note(|figures, _| figures.traffic.for_seconds = span.as_secs_f64());
        let span_text = humantime::format_duration(span);
        let text = format!("traffic: {bytes} bytes every {tick} through each of {tunnels} tunnels, for {span_text}");
        run.phase("traffic", &text, span.as_secs());
    }
}
