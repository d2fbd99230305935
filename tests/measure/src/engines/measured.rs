//! What the rounds of one engine come to.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    common::figure::Figure,
    engines::{gauge::Work, load::Open},
};

/// A rate is held when this share of it arrives while it goes on, and 99 of 100 updates within this time.
const HELD_SHARE: f64 = 0.95;
const HELD_MS: f64 = 100.0;

/// The names of the engines: the prior design, the same tuned, and ours.
pub const REPLICAS: &str = "replicas";
pub const TUNED: &str = "replicas_tuned";
pub const EXTENSION: &str = "extension";

/// One engine. Each figure is the median of the rounds, with the least and the most.
#[derive(Debug, Serialize, Deserialize)]
pub struct Measured {
    /// `replicas`, `replicas_tuned` or `extension`.
    pub engine: String,
    /// What it is, for people.
    pub what: String,
    /// Connections to Postgres of all coordinators together.
    pub connections: usize,
    /// As many updates as it can take.
    pub saturated: Saturated,
    /// Updates at given rates, ascending.
    pub rates: Vec<Rate>,
    /// The highest of the rates that was held, and all below it; null: none was.
    pub highest_rate_held: Option<f64>,
    /// Updates between two coordinators, as the others feel them.
    pub bystanders: Option<Bystanders>,
    /// Peers whose partners had their last node in hand at the end, which is also the one in the table. It is all of them:
    /// otherwise the run fails.
    pub checked: usize,
}

/// For each update.
#[derive(Debug, Serialize, Deserialize)]
pub struct Cost {
    /// Microseconds of CPU of all processes of Postgres.
    pub postgres_us: Figure,
    /// The same of this program, which is load and coordinators, without websockets.
    pub driver_us: Figure,
    /// Statements that coordinators sent.
    pub statements: Figure,
    pub statements_by_kind: BTreeMap<String, Figure>,
}

/// A closed load: each update that is heard starts the next.
#[derive(Debug, Serialize, Deserialize)]
pub struct Saturated {
    /// Updates that the partner's coordinator had in hand.
    pub updates_per_second: Figure,
    #[serde(flatten)]
    pub cost: Cost,
    /// Cores that both were given on average. Fewer than the machine has: the engine waited, or others took them.
    pub cores: Figure,
    /// Payloads that Postgres was given to notify, each a second.
    pub notifies_per_second: Figure,
    /// Payloads that coordinators received, each a second.
    pub deliveries_per_second: Figure,
}

/// An open load.
#[derive(Debug, Serialize, Deserialize)]
pub struct Rate {
    /// Updates that were due each second.
    pub per_second: f64,
    /// Updates that arrived each second while the load was on.
    pub arrived_per_second: Figure,
    /// Milliseconds from when an update was due until the partner's coordinator had it in hand.
    pub p50_ms: Figure,
    pub p99_ms: Figure,
    pub max_ms: Figure,
    /// Updates that a later one of the same peer has overtaken.
    pub merged: Figure,
    #[serde(flatten)]
    pub cost: Cost,
    /// Whether, in the median, 95 % of the rate arrived while it went on, and 99 of 100 updates within 100 ms.
    pub held: bool,
}

/// What updates cost a coordinator that holds no peer with an interest in them; of several, the one with the most.
#[derive(Debug, Serialize, Deserialize)]
pub struct Bystanders {
    /// Statements that it sent for each update.
    pub statements: Figure,
    /// Payloads that it received for each update.
    pub payloads: Figure,
}

/// The extension against a baseline, round by round, both saturated.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ratios {
    /// Updates a second: extension ÷ baseline.
    pub updates: Figure,
    /// CPU of Postgres for each update: baseline ÷ extension.
    pub postgres_cpu: Figure,
    /// The same of the driver.
    pub driver_cpu: Figure,
    /// The same of both together: the ratio of updates a second, were no core ever idle or taken by others.
    pub all_cpu: Figure,
}

impl Measured {
    pub fn name(&self) -> &str {
        match self.engine.as_str() {
            REPLICAS => "prior design",
            TUNED => "prior design, tuned",
            EXTENSION => "pg_tailnet",
            other => other,
        }
    }
}

impl Cost {
    fn of(rounds: &[&Work]) -> Self {
        let kinds: BTreeSet<&'static str> = rounds.iter().flat_map(|work| work.statements.keys().copied()).collect();
        let calls = |kind| figure(rounds, |work| work.statements.get(kind).copied().unwrap_or(0.0));
        Self {
            postgres_us: figure(rounds, |work| work.postgres_us),
            driver_us: figure(rounds, |work| work.driver_us),
            statements: figure(rounds, |work| work.all_statements()),
            statements_by_kind: kinds.into_iter().map(|kind| (kind.to_owned(), calls(kind))).collect(),
        }
    }
}

impl Saturated {
    /// Of at least one round. `listeners`: how many coordinators hear one notification.
    pub fn of(rounds: &[Work], listeners: f64) -> Self {
        let deliveries = |work: &Work| work.payloads_by_coordinator.iter().sum::<f64>() * work.per_second();
        Self {
            updates_per_second: figure(rounds, Work::per_second),
            cost: Cost::of(&rounds.iter().collect::<Vec<_>>()),
            cores: figure(rounds, |work| work.all_us() / 1e6 * work.per_second()),
            notifies_per_second: figure(rounds, |work| deliveries(work) / listeners),
            deliveries_per_second: figure(rounds, deliveries),
        }
    }
}

impl Rate {
    /// Of at least one round.
    pub fn of(per_second: f64, rounds: &[Open]) -> Self {
        let quantile = |percent: f64| {
            figure(rounds, |open| {
                let [latency] = open.latencies.quantiles([percent]);
                latency.as_secs_f64() * 1e3
            })
        };
        let (arrived_per_second, p99_ms) = (figure(rounds, |open| open.per_second), quantile(99.0));
        Self {
            per_second,
            held: arrived_per_second.median >= HELD_SHARE * per_second && p99_ms.median <= HELD_MS,
            arrived_per_second,
            p50_ms: quantile(50.0),
            p99_ms,
            max_ms: quantile(100.0),
            merged: figure(rounds, |open| open.merged as f64),
            cost: Cost::of(&rounds.iter().map(|open| &open.work).collect::<Vec<_>>()),
        }
    }
}

impl Bystanders {
    /// Of at least one round with updates between the first two coordinators.
    pub fn of(rounds: &[Work]) -> Self {
        let most =
            |of: fn(&Work) -> &Vec<f64>| figure(rounds, |work| of(work)[2..].iter().copied().fold(0.0, f64::max));
        Self {
            statements: most(|work| &work.statements_by_coordinator),
            payloads: most(|work| &work.payloads_by_coordinator),
        }
    }
}

impl Ratios {
    /// Of as many rounds of each.
    pub fn of(baseline: &[Work], extension: &[Work]) -> Self {
        let rounds: Vec<_> = baseline.iter().zip(extension).collect();
        Self {
            updates: figure(&rounds, |(old, new)| new.per_second() / old.per_second()),
            postgres_cpu: figure(&rounds, |(old, new)| old.postgres_us / new.postgres_us),
            driver_cpu: figure(&rounds, |(old, new)| old.driver_us / new.driver_us),
            all_cpu: figure(&rounds, |(old, new)| old.all_us() / new.all_us()),
        }
    }
}

/// The highest rate that was held, if all below it were.
pub fn highest_held(rates: &[Rate]) -> Option<f64> {
    rates.iter().take_while(|rate| rate.held).last().map(|rate| rate.per_second)
}

fn figure<T>(rounds: &[T], of: impl Fn(&T) -> f64) -> Figure {
    Figure::of(rounds.iter().map(of).collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tailnet_tools::latencies::Latencies;

    use super::*;

    fn work(heard: u64, postgres_us: f64) -> Work {
        Work {
            seconds: 2.0,
            heard,
            postgres_us,
            driver_us: postgres_us / 2.0,
            statements: BTreeMap::from([("one", 0.5), ("other", 1.0)]),
            statements_by_coordinator: vec![0.5, 0.5, 0.1, 0.4],
            payloads_by_coordinator: vec![0.0, 2.0, 1.0, 1.0],
        }
    }

    fn open(per_second: f64, milliseconds: u64) -> Open {
        let mut latencies = Latencies::default();
        latencies.add(Duration::from_millis(milliseconds));
        Open { latencies, merged: 0, per_second, work: work(100, 10.0) }
    }

    #[test]
    fn notifications_are_counted_once_however_many_hear_them() {
        let saturated = Saturated::of(&[work(100, 10.0), work(300, 10.0), work(200, 10.0)], 4.0);
        assert_eq!((saturated.updates_per_second.median, saturated.cost.statements.median), (100.0, 1.5));
        assert_eq!((saturated.notifies_per_second.median, saturated.deliveries_per_second.median), (100.0, 400.0));
    }

    /// The benchmark of the peers reads what that of the engines printed.
    #[test]
    fn figures_are_read_as_they_were_written() {
        let text = serde_json::to_string(&Rate::of(500.0, &[open(480.0, 7)])).expect("JSON");
        let read: Rate = serde_json::from_str(&text).expect("the same figures");
        assert_eq!((read.p99_ms.median, read.cost.statements_by_kind["one"].max), (7.0, 0.5));
        let error = serde_json::from_str::<Rate>(&text.replace("p50_ms", "x")).expect_err("a figure is missing");
        assert!(error.to_string().contains("missing field `p50_ms`"), "{error}");
    }

    #[test]
    fn only_who_has_no_interest_is_a_bystander() {
        let bystanders = Bystanders::of(&[work(100, 10.0)]);
        assert_eq!((bystanders.statements.median, bystanders.payloads.median), (0.4, 1.0));
    }

    #[test]
    fn the_better_engine_has_the_higher_ratio() {
        let ratios = Ratios::of(&[work(100, 400.0)], &[work(1_000, 20.0)]);
        let medians =
            [ratios.updates, ratios.postgres_cpu, ratios.driver_cpu, ratios.all_cpu].map(|ratio| ratio.median);
        assert_eq!(medians, [10.0, 20.0, 20.0, 20.0]);
    }

    #[test]
    fn a_rate_is_held_when_it_arrives_in_time() {
        let held = [(1_000.0, 960.0, 99), (2_000.0, 1_800.0, 50), (5_000.0, 5_000.0, 101), (9_000.0, 9_000.0, 9)];
        let rates: Vec<_> = held.iter().map(|(due, arrived, ms)| Rate::of(*due, &[open(*arrived, *ms)])).collect();
        assert_eq!(rates.iter().map(|rate| rate.held).collect::<Vec<_>>(), [true, false, false, true]);
        assert_eq!((highest_held(&rates), highest_held(&rates[1..])), (Some(1_000.0), None));
    }
}
