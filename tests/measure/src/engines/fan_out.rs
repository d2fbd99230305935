//! Phase: the extension and the prior design under the same load, in interleaved rounds.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::{
    common::progress::Progress,
    engines::{
        extension::Extension,
        load::Load,
        measured::{EXTENSION, Measured, REPLICAS, Ratios, TUNED},
        options::{Engines, FanOut as Options},
        pairs::{COORDINATORS, Pairs},
        replica::{self, Publish},
        replicas::Replicas,
        rounds::{Plan, Rounds},
    },
};

/// In updates a second.
const RATES: [f64; 8] = [50.0, 100.0, 500.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0, 20_000.0];

/// What was found.
#[derive(Debug, Serialize, Deserialize)]
pub struct FanOut {
    /// Peers, in pairs with a tunnel, each pair over two coordinators.
    pub peers: usize,
    /// Coordinators that hold them.
    pub coordinators: usize,
    /// Updates in flight when an engine is saturated.
    pub in_flight: usize,
    pub rounds: usize,
    /// The baselines first, the extension last.
    pub engines: Vec<Measured>,
    /// The extension against the prior design as it is; null when not both were measured.
    pub ratios: Option<Ratios>,
    /// The extension against the best that could be made of the prior design without changing what it does.
    pub ratios_tuned: Option<Ratios>,
}

impl FanOut {
    /// The median latency of an engine at a rate; None: it was not measured.
    pub fn p50_ms(&self, engine: &str, per_second: f64) -> Option<f64> {
        let measured = self.engines.iter().find(|measured| measured.engine == engine)?;
        Some(measured.rates.iter().find(|rate| rate.per_second == per_second)?.p50_ms.median)
    }

    /// The figures of the extension; None: it was not measured.
    pub fn extension(&self) -> Option<&Measured> {
        self.engines.iter().find(|measured| measured.engine == EXTENSION)
    }
}

/// Measures the engines that are asked for.
/// Fails when an engine fails, or leaves a peer with a wrong view.
pub async fn run(options: &Options, quick: bool, progress: &Progress) -> Result<FanOut> {
    let rounds = usize::from(options.rounds.unwrap_or(if quick { 1 } else { 3 }));
    let peers = options.peers.unwrap_or(if quick { 1_000 } else { 8_000 }) as usize;
    let pairs = Arc::new(Pairs::new(peers / 2));
    let plan = plan(options.in_flight.map_or(pairs.len(), |count| count as usize), quick);
    let mut engines = start(&pairs, options, progress).await?;
    for round in 0..rounds {
        // Nobody is always the one who follows the other.
        for place in 0..engines.len() {
            let engine = (place + round) % engines.len();
            let engine = &mut engines[engine];
            progress.phase(&format!("round {}: {}", round + 1, engine.name));
            engine.saturate(&plan).await?;
            engine.go_on(&plan, &pairs).await?;
        }
    }
    let saturated = |name: &str| engines.iter().find(|engine| engine.name == name).map(|engine| &engine.saturated[..]);
    let against = |name: &str| Some(Ratios::of(saturated(name)?, saturated(EXTENSION)?));
    let (ratios, ratios_tuned) = (against(REPLICAS), against(TUNED));
    let mut measured = Vec::new();
    for engine in engines {
        progress.phase(&format!("{}: every view is checked", engine.name));
        measured.push(engine.end().await?);
    }
    let (peers, in_flight) = (pairs.len(), plan.in_flight);
    Ok(FanOut { peers, coordinators: COORDINATORS, in_flight, rounds, engines: measured, ratios, ratios_tuned })
}

fn plan(in_flight: usize, quick: bool) -> Plan {
    let seconds = |full: f64, quickly: f64| Duration::from_secs_f64(if quick { quickly } else { full });
    Plan {
        in_flight,
        warm_up: seconds(1.0, 0.4),
        saturated: seconds(3.0, 1.0),
        rates: if quick { vec![100.0, 500.0, 1_000.0, 5_000.0] } else { RATES.to_vec() },
        rate: seconds(2.0, 1.0),
        bystanders: seconds(1.0, 0.5),
    }
}

/// Starts the engines, each in a database of its own, so that nobody hears the notifications of another.
async fn start(pairs: &Arc<Pairs>, options: &Options, progress: &Progress) -> Result<Vec<Rounds>> {
    let mut baselines = Vec::new();
    if options.engine != Engines::Extension {
        let connections = usize::from(options.replica_connections);
        baselines.push((REPLICAS, replica::Options { publish: options.publish, connections }));
    }
    if options.engine == Engines::Both {
        baselines.push((TUNED, replica::Options { publish: Publish::Together, connections: 1 }));
    }
    let mut engines = Vec::new();
    for (name, settings) in baselines {
        progress.phase(&format!("{name}: {} peers over {COORDINATORS} coordinators", pairs.len()));
        let (mouth, ears) = mpsc::unbounded_channel();
        let (engine, facts) = Replicas::start(Arc::clone(pairs), settings, &mouth).await?;
        let load = Load::new(Box::new(engine), facts, ears).await?;
        engines.push(Rounds::new(name, settings.to_string(), load));
    }
    if options.engine != Engines::Replicas {
        progress.phase(&format!("{EXTENSION}: {} peers over {COORDINATORS} coordinators", pairs.len()));
        let (mouth, ears) = mpsc::unbounded_channel();
        let (engine, facts) = Extension::start(Arc::clone(pairs), &mouth).await?;
        let load = Load::new(Box::new(engine), facts, ears).await?;
        engines.push(Rounds::new(EXTENSION, "calls and LISTENs as the proxy does".to_owned(), load));
    }
    for engine in &engines {
        // The planner must know how large the tables are; autovacuum would see to it in the middle of a round.
        engine.vacuum().await?;
    }
    Ok(engines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(engine: Engines, publish: Publish) -> Options {
        let (peers, rounds) = (Some(48), Some(1));
        Options { engine, peers, in_flight: None, rounds, publish, replica_connections: 2 }
    }

    /// Sums of quotients are as exact as that.
    fn to_billionths(figure: f64) -> f64 {
        (figure * 1e9).round() / 1e9
    }

    /// Long enough for each peer to announce many nodes.
    fn short() -> Plan {
        let moment = Duration::from_millis(200);
        Plan { in_flight: 48, warm_up: moment, saturated: moment, rates: vec![200.0], rate: moment, bystanders: moment }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_engine_ends_with_the_last_nodes_and_only_the_prior_design_tells_bystanders() {
        let pairs = Arc::new(Pairs::new(24));
        let options = options(Engines::Both, Publish::Separately);
        let mut found = Vec::new();
        for mut engine in start(&pairs, &options, &Progress::new(0)).await.expect("the engines start") {
            engine.saturate(&short()).await.expect("it takes the load");
            engine.go_on(&short(), &pairs).await.expect("it takes the load");
            found.push(engine.end().await.expect("every view is right"));
        }
        assert_eq!(found.iter().map(|engine| engine.engine.as_str()).collect::<Vec<_>>(), [REPLICAS, TUNED, EXTENSION]);
        for engine in &found {
            assert_eq!((engine.checked, engine.rates.len()), (48, 1));
            let bystanders = engine.bystanders.as_ref().expect("it was measured");
            let (statements, payloads) = (bystanders.statements.median, bystanders.payloads.median);
            match engine.engine.as_str() {
                EXTENSION => assert_eq!((statements, payloads), (0.0, 0.0)),
                _ => assert!(statements > 0.0 && payloads > 0.0, "{bystanders:?}"),
            }
        }
        // At a rate all is counted, from the first update to the last; each peer has one at the most.
        let calls = |place: usize, kind| {
            found[place].rates[0].cost.statements_by_kind.get(kind).map(|calls| to_billionths(calls.median))
        };
        assert_eq!((calls(0, "upsert"), calls(0, "notify")), (Some(1.0), Some(1.0)));
        assert_eq!((calls(1, "upsert"), calls(1, "notify").unwrap_or(0.0)), (Some(1.0), 0.0));
        assert!(calls(2, "bind_peers").is_some_and(|calls| calls > 0.0 && calls <= 1.0));
        assert_eq!(calls(2, "other").unwrap_or(0.0), 0.0, "nothing else is called for an update");
    }
}
