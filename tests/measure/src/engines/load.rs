//! The load on an engine: peers that announce node after node, and the clock of each announcement.
//!
//! It is one task that sends and hears, the same for every engine.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rand::seq::SliceRandom as _;
use tailnet_tools::latencies::Latencies;
use tokio::time::timeout;

use crate::{
    common::timer::ticks,
    engines::{
        engine::{Ears, Engine, Facts, Heard},
        gauge::{Gauge, Sample, Work},
    },
};

/// Only an engine that hangs takes longer to hand over what is in flight.
const DEADLINE: Duration = Duration::from_secs(60);

/// An engine, and all that its peers have announced.
#[derive(Debug)]
pub struct Load {
    pub facts: Facts,
    engine: Box<dyn Engine>,
    gauge: Gauge,
    ears: Ears,
    peers: Vec<Peer>,
    /// Announcements that the partner has not heard yet.
    in_flight: usize,
    heard: u64,
}

#[derive(Debug, Default)]
struct Peer {
    sent: u64,
    /// The version that the partner knows.
    told: u64,
    /// What the partner does not know yet, and since when it is due.
    pending: VecDeque<(u64, Instant)>,
}

/// What an open load found.
#[derive(Debug)]
pub struct Open {
    /// Of all that were due, from then until the partner's coordinator had it, or a later one, in hand.
    pub latencies: Latencies,
    /// Announcements that a later one of the same peer has overtaken.
    pub merged: usize,
    /// How many a second arrived while the load was on.
    pub per_second: f64,
    /// What it took, for each announcement.
    pub work: Work,
}

impl Load {
    /// Puts it on an engine; each peer announces its first node, and all partners hear it.
    pub async fn new(engine: Box<dyn Engine>, facts: Facts, ears: Ears) -> Result<Self> {
        let gauge = Gauge::open(&facts).await?;
        let peers = facts.ids.iter().map(|_| Peer::default()).collect();
        let mut load = Self { facts, engine, gauge, ears, peers, in_flight: 0, heard: 0 };
        for place in 0..load.peers.len() {
            load.send(place, Instant::now());
        }
        load.settle().await?;
        Ok(load)
    }

    pub fn peers(&self) -> usize {
        self.peers.len()
    }

    /// Does what autovacuum would do in the middle of a measurement.
    pub async fn vacuum(&self) -> Result<()> {
        Ok(self.gauge.sql.batch_execute("VACUUM (ANALYZE)").await?)
    }

    /// Keeps so many of these peers' announcements in flight for a time: each that is heard starts the next. Returns what
    /// it took in the time after `warm_up`.
    pub async fn saturate(
        &mut self,
        places: &[usize],
        in_flight: usize,
        warm_up: Duration,
        span: Duration,
    ) -> Result<Work> {
        let mut idle = self.start(places, in_flight);
        self.closed_until(Instant::now() + warm_up, &mut idle).await?;
        let before = self.sample().await?;
        self.closed_until(before.at + span, &mut idle).await?;
        let after = self.sample().await?;
        self.settle().await?;
        Ok(before.until(&after))
    }

    /// The same with one announcement of each of these peers in flight, from the first to the last: nothing is missed.
    pub async fn saturate_and_settle(&mut self, places: &[usize], span: Duration) -> Result<Work> {
        let before = self.sample().await?;
        let mut idle = self.start(places, places.len());
        self.closed_until(before.at + span, &mut idle).await?;
        self.settle().await?;
        Ok(before.until(&self.sample().await?))
    }

    /// Puts so many announcements in flight. Returns the peers in the order in which they follow.
    fn start(&mut self, places: &[usize], in_flight: usize) -> VecDeque<usize> {
        let mut idle = shuffled(places);
        let rest = idle.split_off(in_flight.min(places.len()));
        idle.into_iter().for_each(|place| self.send(place, Instant::now()));
        rest
    }

    async fn closed_until(&mut self, end: Instant, idle: &mut VecDeque<usize>) -> Result<()> {
        while Instant::now() < end {
            for (place, _) in self.wait().await? {
                idle.push_back(place);
                let next = idle.pop_front().expect("one was just put in");
                self.send(next, Instant::now());
            }
        }
        Ok(())
    }

    /// Announces nodes at a rate, whether or not those before are heard: when one is due follows from the rate alone.
    pub async fn at_rate(&mut self, per_second: f64, span: Duration) -> Result<Open> {
        let order = shuffled(&(0..self.peers.len()).collect::<Vec<_>>());
        let mut latencies = Latencies::default();
        let before = self.sample().await?;
        let begun = Instant::now();
        let total = (span.as_secs_f64() * per_second) as usize;
        let mut ticks = ticks(total, Duration::from_secs_f64(1.0 / per_second));
        let mut sent = 0;
        while sent < total {
            tokio::select! {
                Some(due) = ticks.recv() => {
                    self.send(order[sent % order.len()], due);
                    sent += 1;
                }
                heard = self.hear() => heard?.into_iter().for_each(|(_, latency)| latencies.add(latency)),
            }
        }
        let per_second = (self.heard - before.heard) as f64 / begun.elapsed().as_secs_f64();
        while self.in_flight > 0 {
            self.wait().await?.into_iter().for_each(|(_, latency)| latencies.add(latency));
        }
        let work = before.until(&self.sample().await?);
        Ok(Open { merged: total - usize::try_from(work.heard)?, latencies, per_second, work })
    }

    /// Ends the engine, and removes its database.
    pub async fn end(self) -> Result<()> {
        drop(self.engine);
        self.facts.database.drop().await
    }

    /// Waits until all announcements are heard.
    pub async fn settle(&mut self) -> Result<()> {
        while self.in_flight > 0 {
            self.wait().await?;
        }
        Ok(())
    }

    /// That each partner was told the last node of its peer, and that it is the one in the table.
    /// Fails when a view is wrong.
    pub async fn check(&mut self) -> Result<usize> {
        self.settle().await?;
        for (place, peer) in self.peers.iter().enumerate() {
            ensure!(peer.sent > 0 && peer.told == peer.sent, "the partner of peer {place} ended with {peer:?}");
        }
        let sent: Vec<i64> = self.peers.iter().map(|peer| peer.sent.cast_signed()).collect();
        let table = self.facts.table;
        let sql = format!(
            "SELECT count(*) FROM unnest($1::uuid[], $2::bigint[]) sent(id, version)
             JOIN {table} p ON p.id = sent.id AND (p.node->>'id')::bigint = sent.version"
        );
        let right: i64 = self.gauge.sql.query_one(&sql, &[&self.facts.ids, &sent]).await?.get(0);
        ensure!(
            usize::try_from(right)? == sent.len(),
            "{table} holds the last node of {right} peers of {}",
            sent.len()
        );
        Ok(sent.len())
    }

    fn send(&mut self, place: usize, due: Instant) {
        let peer = &mut self.peers[place];
        peer.sent += 1;
        peer.pending.push_back((peer.sent, due));
        self.in_flight += 1;
        self.engine.announce(place, peer.sent);
    }

    /// What is heard next, which must not be for ever.
    async fn wait(&mut self) -> Result<Vec<(usize, Duration)>> {
        let in_flight = self.in_flight;
        let heard = timeout(DEADLINE, self.hear()).await;
        heard.with_context(|| format!("{in_flight} announcements were not heard within {DEADLINE:?}"))?
    }

    /// What is heard next: peers, with the time since each announcement was due. A later node answers the earlier ones.
    /// Nothing is lost when the future is dropped.
    async fn hear(&mut self) -> Result<Vec<(usize, Duration)>> {
        let heard = self.ears.recv().await.context("the engine has ended")??;
        let mut answered = Vec::with_capacity(heard.len());
        for Heard { place, version, at } in heard {
            let peer = &mut self.peers[place];
            ensure!(version >= peer.told, "the partner of peer {place} was told {version} after {}", peer.told);
            peer.told = version;
            self.heard += 1;
            while let Some((_, due)) = peer.pending.pop_front_if(|(pending, _)| *pending <= version) {
                self.in_flight -= 1;
                answered.push((place, at.saturating_duration_since(due)));
            }
        }
        Ok(answered)
    }

    async fn sample(&self) -> Result<Sample> {
        self.gauge.sample(self.engine.payloads(), self.heard).await
    }
}

fn shuffled(places: &[usize]) -> VecDeque<usize> {
    let mut order = places.to_vec();
    order.shuffle(&mut rand::rng());
    order.into()
}

#[cfg(test)]
mod tests;
