//! Phase: the extension and the prior design under the same load, in interleaved rounds.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::Result;
use serde::Serialize;
use tailnet_tests::measure::{figure::Figure, progress::Progress};
use tokio::sync::mpsc;

use crate::{
    extension::Extension,
    gauge::Work,
    load::{Load, Open},
    options::{Engines, FanOut as Options},
    pairs::{COORDINATORS, Pairs},
    replica,
    replicas::Replicas,
};

/// A rate is held when this share of it arrives while it goes on, and 99 of 100 updates within this time.
const HELD_SHARE: f64 = 0.95;
const HELD_MS: f64 = 100.0;

/// The rates of the full run, in updates a second. An engine is given those that it can take, and the next one.
const RATES: [f64; 7] = [250.0, 500.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0, 20_000.0];

/// How long each part of a round takes.
struct Spans {
    warm_up: Duration,
    saturated: Duration,
    rate: Duration,
    bystanders: Duration,
}

/// What was found.
#[derive(Debug, Serialize)]
pub struct FanOut {
    /// Peers, in pairs with a tunnel, each pair over two coordinators.
    pub peers: usize,
    /// Coordinators that hold them.
    pub coordinators: usize,
    /// Announcements in flight when an engine is saturated: each that is heard starts the next.
    pub in_flight: usize,
    /// Interleaved rounds; each figure is the median, with the least and the most.
    pub rounds: usize,
    /// `replicas` first.
    pub engines: Vec<Measured>,
    /// Null when one engine was measured only.
    pub ratios: Option<Ratios>,
}

/// The extension against the prior design, in the same round, both saturated.
#[derive(Debug, Serialize)]
pub struct Ratios {
    /// Updates a second: extension ÷ replicas.
    pub updates: Figure,
    /// CPU of Postgres for each update: replicas ÷ extension.
    pub postgres_cpu: Figure,
    /// The same of the driver, which is coordinators and load.
    pub driver_cpu: Figure,
}

/// One engine.
#[derive(Debug, Serialize)]
pub struct Measured {
    /// `replicas` or `extension`.
    pub engine: &'static str,
    /// Connections to Postgres of all coordinators together.
    pub connections: usize,
    /// As many updates as it can take.
    pub saturated: Saturated,
    /// Updates at given rates; latency counts from when each was due.
    pub rates: Vec<Rate>,
    /// Updates between two coordinators, as the others feel them.
    pub bystanders: Bystanders,
    /// Peers whose partners had their last node in hand at the end, which is also the one in the table. All of them, or
    /// the run fails.
    pub checked: usize,
}

/// A closed load.
#[derive(Debug, Serialize)]
pub struct Saturated {
    /// Updates that the partner's coordinator had in hand.
    pub updates_per_second: Figure,
    /// Microseconds of CPU of all processes of Postgres for each update.
    pub postgres_us: Figure,
    /// The same of this program: load and coordinators, websockets aside.
    pub driver_us: Figure,
    /// Statements that coordinators sent for each update.
    pub statements: Figure,
    /// The same by kind.
    pub statements_by_kind: BTreeMap<&'static str, Figure>,
    /// Payloads that Postgres was given to notify, each a second.
    pub notifies_per_second: Figure,
    /// Payloads that coordinators received, each a second.
    pub deliveries_per_second: Figure,
}

/// An open load.
#[derive(Debug, Serialize)]
pub struct Rate {
    /// Updates that were due each second.
    pub per_second: f64,
    /// Updates that arrived each second while the load was on.
    pub arrived_per_second: Figure,
    /// Milliseconds from when an update was due until the partner's coordinator had it in hand.
    pub p50_ms: Figure,
    /// The same.
    pub p99_ms: Figure,
    /// The same.
    pub max_ms: Figure,
    /// Updates that a later one of the same peer has overtaken.
    pub merged: Figure,
    /// Microseconds of CPU of all processes of Postgres for each update.
    pub postgres_us: Figure,
    /// The same of this program.
    pub driver_us: Figure,
    /// Statements that coordinators sent for each update.
    pub statements: Figure,
    /// Whether 95 % of the rate arrived while it went on, 99 of 100 updates within 100 ms, in the median.
    pub held: bool,
}

/// What updates cost coordinators that hold no peer with an interest in them.
#[derive(Debug, Serialize)]
pub struct Bystanders {
    /// Statements that one of them sent for each update.
    pub statements: Figure,
    /// Payloads that one of them received for each update.
    pub payloads: Figure,
}

/// All rounds of one engine.
struct Rounds {
    name: &'static str,
    load: Load,
    /// How many coordinators hear one notification.
    listeners: f64,
    table: &'static str,
    saturated: Vec<Work>,
    rates: Vec<(f64, Vec<Open>)>,
    bystanders: Vec<Work>,
}

/// Measures the engines that are asked for.
///
/// # Errors
/// When an engine fails, or leaves a peer with a wrong view.
pub async fn run(options: &Options, quick: bool, progress: &Progress) -> Result<FanOut> {
    let rounds = usize::from(options.rounds.unwrap_or(if quick { 1 } else { 3 }));
    let peers = options.peers.unwrap_or(if quick { 2_000 } else { 8_000 }) as usize;
    let in_flight = options.in_flight.map_or(peers, |count| count as usize);
    let pairs = Arc::new(Pairs::new(peers / 2));
    let mut engines = Vec::new();
    if options.engine != Engines::Extension {
        progress.phase(&format!("replicas: {peers} peers over {COORDINATORS} coordinators"));
        engines.push(replicas(&pairs, options).await?);
    }
    if options.engine != Engines::Replicas {
        progress.phase(&format!("extension: {peers} peers over {COORDINATORS} coordinators"));
        engines.push(extension(&pairs).await?);
    }
    for round in 0..rounds {
        // Nobody is always the one who follows the other.
        for place in 0..engines.len() {
            let place = (place + round) % engines.len();
            engines[place].round(&pairs, in_flight, quick, round, progress).await?;
        }
    }
    let mut measured = Vec::new();
    for engine in &mut engines {
        progress.phase(&format!("{}: check of all views", engine.name));
        let checked = engine.load.check(engine.table).await?;
        measured.push(engine.measured(checked));
    }
    let ratios = match &engines[..] {
        [replicas, extension] => Some(ratios(&replicas.saturated, &extension.saturated)),
        _ => None,
    };
    Ok(FanOut { peers, coordinators: COORDINATORS, in_flight, rounds, engines: measured, ratios })
}

async fn replicas(pairs: &Arc<Pairs>, options: &Options) -> Result<Rounds> {
    let (mouth, ears) = mpsc::unbounded_channel();
    let settings =
        replica::Options { publish: options.publish, connections: usize::from(options.replica_connections) };
    let engine = Replicas::start(Arc::clone(pairs), settings, &mouth).await?;
    let load = Load::new(Box::new(engine), ears, pairs.len()).await?;
    // The planner must know how large the tables are.
    load.sql().batch_execute("VACUUM (ANALYZE)").await?;
    Ok(Rounds::new("replicas", load, COORDINATORS as f64, "replicas.peers"))
}

async fn extension(pairs: &Arc<Pairs>) -> Result<Rounds> {
    let (mouth, ears) = mpsc::unbounded_channel();
    let engine = Extension::start(Arc::clone(pairs), &mouth).await?;
    let load = Load::new(Box::new(engine), ears, pairs.len()).await?;
    load.sql().batch_execute("VACUUM (ANALYZE)").await?;
    Ok(Rounds::new("extension", load, 1.0, "tailnet_private.peers"))
}

impl Rounds {
    fn new(name: &'static str, load: Load, listeners: f64, table: &'static str) -> Self {
        Self { name, load, listeners, table, saturated: Vec::new(), rates: Vec::new(), bystanders: Vec::new() }
    }

    async fn round(
        &mut self,
        pairs: &Pairs,
        in_flight: usize,
        quick: bool,
        round: usize,
        progress: &Progress,
    ) -> Result<()> {
        let seconds = |full: f64, quickly: f64| Duration::from_secs_f64(if quick { quickly } else { full });
        let spans = Spans {
            warm_up: seconds(1.0, 0.5),
            saturated: seconds(4.0, 1.0),
            rate: seconds(2.0, 1.0),
            bystanders: seconds(1.0, 0.5),
        };
        let all: Vec<usize> = (0..pairs.len()).collect();
        progress.phase(&format!("round {}: {}, saturated", round + 1, self.name));
        let work = self.load.saturate(&all, in_flight, spans.warm_up, spans.saturated).await?;
        let capacity = self.saturated.first().map_or(per_second(&work), per_second);
        eprintln!(
            "    {:.0} updates a second, CPU an update: {:.0} µs of Postgres, {:.0} µs of the driver; statements an update {:?}",
            per_second(&work), work.postgres_us, work.driver_us, work.statements
        );
        self.saturated.push(work);
        let above = RATES.iter().position(|rate| *rate > capacity).unwrap_or(RATES.len() - 1);
        for (place, rate) in RATES.into_iter().take(above + 1).enumerate() {
            if quick && ![1_000.0, 5_000.0].contains(&rate) {
                continue;
            }
            let open = self.load.at_rate(rate, spans.rate).await?;
            let [p50, p99] = open.latencies.quantiles([50.0, 99.0]).map(|latency| latency.as_secs_f64() * 1e3);
            eprintln!("    at {rate:.0} a second: p50 {p50:.1} ms, p99 {p99:.1} ms");
            match self.rates.iter_mut().find(|(known, _)| *known == rate) {
                Some((_, rounds)) => rounds.push(open),
                None => self.rates.insert(place.min(self.rates.len()), (rate, vec![open])),
            }
        }
        let places = pairs.between_first_two();
        self.bystanders.push(self.load.saturate(&places, places.len(), spans.warm_up, spans.bystanders).await?);
        Ok(())
    }

    fn measured(&self, checked: usize) -> Measured {
        Measured {
            engine: self.name,
            connections: self.load.engine.connections(),
            saturated: self.saturated(),
            rates: self.rates.iter().map(|(rate, rounds)| summed_up(*rate, rounds)).collect(),
            bystanders: Bystanders {
                statements: self.bystanders(|work| &work.statements_by_coordinator),
                payloads: self.bystanders(|work| &work.payloads_by_coordinator),
            },
            checked,
        }
    }

    fn saturated(&self) -> Saturated {
        let rounds = &self.saturated;
        let deliveries = |work: &Work| work.payloads_by_coordinator.iter().sum::<f64>() * per_second(work);
        let kinds: Vec<&'static str> = rounds.iter().flat_map(|work| work.statements.keys().copied()).collect();
        let by_kind = |kind| (kind, figure(rounds, |work| work.statements.get(kind).copied().unwrap_or(0.0)));
        Saturated {
            updates_per_second: figure(rounds, per_second),
            postgres_us: figure(rounds, |work| work.postgres_us),
            driver_us: figure(rounds, |work| work.driver_us),
            statements: figure(rounds, statements),
            statements_by_kind: kinds.into_iter().map(by_kind).collect(),
            notifies_per_second: figure(rounds, |work| deliveries(work) / self.listeners),
            deliveries_per_second: figure(rounds, deliveries),
        }
    }

    /// Of the coordinators behind the first two, the one that had most to do.
    fn bystanders(&self, of: impl Fn(&Work) -> &Vec<f64>) -> Figure {
        figure(&self.bystanders, |work| of(work)[2..].iter().copied().fold(0.0, f64::max))
    }
}

fn per_second(work: &Work) -> f64 {
    work.heard as f64 / work.seconds
}

fn statements(work: &Work) -> f64 {
    work.statements.values().sum()
}

fn figure<T>(rounds: &[T], of: impl Fn(&T) -> f64) -> Figure {
    Figure::of(rounds.iter().map(of).collect())
}

fn summed_up(per_second: f64, rounds: &[Open]) -> Rate {
    let quantile = |percent: f64| {
        figure(rounds, |open| {
            let [latency] = open.latencies.quantiles([percent]);
            latency.as_secs_f64() * 1e3
        })
    };
    let (arrived_per_second, p99_ms) = (figure(rounds, |open| open.per_second), quantile(99.0));
    Rate {
        per_second,
        held: arrived_per_second.median >= HELD_SHARE * per_second && p99_ms.median <= HELD_MS,
        arrived_per_second,
        p50_ms: quantile(50.0),
        p99_ms,
        max_ms: quantile(100.0),
        merged: figure(rounds, |open| open.merged as f64),
        postgres_us: figure(rounds, |open| open.work.postgres_us),
        driver_us: figure(rounds, |open| open.work.driver_us),
        statements: figure(rounds, |open| statements(&open.work)),
    }
}

fn ratios(replicas: &[Work], extension: &[Work]) -> Ratios {
    let rounds: Vec<_> = replicas.iter().zip(extension).collect();
    Ratios {
        updates: figure(&rounds, |(old, new)| per_second(new) / per_second(old)),
        postgres_cpu: figure(&rounds, |(old, new)| old.postgres_us / new.postgres_us),
        driver_cpu: figure(&rounds, |(old, new)| old.driver_us / new.driver_us),
    }
}
