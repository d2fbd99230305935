//! The options, all of them, and how much of everything they mean.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

/// Tens of thousands of peers on two real proxies and a Postgres with its default settings
///
/// It works on a cluster of tests/cluster that runs already, with two load processes, and starts everything else itself:
/// "make bench" and "make bench-quick" run it. Every frame that a peer is told is compared with what its partner announced.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Fewer peers, shorter spans, one round: to see what a change does, not what the targets say
    #[arg(long)]
    pub quick: bool,
    /// Only these parts, separated by commas; a storm always comes first [default: all]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PART")]
    pub only: Vec<Part>,
    /// Pairs of an agent and a client [default: 16000, quick: 2000]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(100..=16_000))]
    pub pairs: Option<u32>,
    /// How many proxies, of which agents use one half and clients the other
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = even)]
    pub proxies: u8,
    /// How often each part is measured [default: 3, quick: 1]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(1..))]
    pub rounds: Option<u8>,
    /// The cluster of tests/cluster to work on; Postgres is killed there
    #[arg(long, value_name = "NAME", default_value = "bench")]
    pub cluster: String,
    /// File that gets all figures as JSON
    #[arg(long, value_name = "FILE", default_value = ".data/out/bench.json")]
    pub json: PathBuf,
    /// The clone whose docs/performance.md, docs/plots and README.md get the figures of a full run; the plots of any other
    /// run go beside the JSON
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    pub clone: PathBuf,
}

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// All peers connect at once (P1)
    Storm,
    /// What a proxy's memory has grown to (P5)
    Memory,
    /// Nobody does anything (P10)
    Idle,
    /// Two peers meet (P12)
    Contact,
    /// Updates at a steady rate (P2, P3)
    Updates,
    /// More and more updates, until the rate is not held (P2, P3, P12, P13)
    Rates,
    /// The LISTEN connection of a proxy ends (P9)
    Listener,
    /// Postgres is killed (P8)
    Crash,
    /// A hub with a tunnel to nearly everybody comes back (P7)
    Hub,
    /// Half as many peers that speak tailnet v2, and as many that speak JSON (P5, P10, P19, P20)
    Protocols,
    /// The cost at the database, by the benchmark of the engines (P3, P4, P6, P7)
    Engines,
}

/// How much of everything.
#[derive(Debug, Clone)]
pub struct Scale {
    /// Pairs of an agent and a client.
    pub pairs: usize,
    /// How often each part is measured.
    pub rounds: usize,
    /// Between the storm and what is measured in rest.
    pub settling: Duration,
    /// For how long nobody does anything: four ping intervals.
    pub idle: Duration,
    /// How many peers meet another one.
    pub contacts: usize,
    /// For how long a rate of updates is measured, after it went on unmeasured for a while.
    pub measured: Duration,
    /// That while.
    pub unmeasured: Duration,
    /// Rates to be tried in turn, updates a second. [`UPDATES_A_SECOND`] is one of them.
    pub rates: &'static [f64],
    /// Tunnels of the hub.
    pub hub_tunnels: usize,
}

/// The rate of P2 and P3.
pub const UPDATES_A_SECOND: f64 = 5_000.0;

/// The rates of P12.
pub const REST: [f64; 3] = [100.0, 500.0, 1_000.0];

/// From rest to more than two cores can do.
const RATES: [f64; 12] =
    [50.0, 100.0, 500.0, 1_000.0, 2_000.0, UPDATES_A_SECOND, 8_000.0, 10_000.0, 12_500.0, 16_000.0, 20_000.0, 25_000.0];

const QUICK_RATES: [f64; 5] = [100.0, 500.0, 1_000.0, UPDATES_A_SECOND, 10_000.0];

/// An even number of proxies, 16 at the most.
fn even(text: &str) -> Result<u8, String> {
    let count = text.parse().map_err(|error| format!("{error}"))?;
    if (2..=16).contains(&count) && count % 2 == 0 {
        Ok(count)
    } else {
        Err("expected an even number, 2 to 16".to_owned())
    }
}

impl Options {
    /// Whether a part is to be measured.
    pub fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    /// Whether this is the run that the documentation is made of.
    pub fn is_full(&self) -> bool {
        !self.quick && self.only.is_empty() && self.pairs.is_none() && self.rounds.is_none() && self.proxies == 2
    }

    /// How much of everything.
    pub fn scale(&self) -> Scale {
        let pairs = self.pairs.unwrap_or(if self.quick { 2_000 } else { 16_000 }) as usize;
        let rounds = usize::from(self.rounds.unwrap_or(if self.quick { 1 } else { 3 }));
        let seconds = |quick, full| Duration::from_secs(if self.quick { quick } else { full });
        Scale {
            pairs,
            rounds,
            settling: seconds(2, 5),
            idle: seconds(15, 60),
            contacts: if self.quick { 50 } else { 200 },
            measured: seconds(4, 8),
            unmeasured: seconds(1, 2),
            rates: if self.quick { &QUICK_RATES } else { &RATES },
            // 30,000 of 32,000 peers.
            hub_tunnels: 2 * pairs / 16 * 15,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        options: Options,
    }

    fn parse(arguments: &[&str]) -> Options {
        Program::try_parse_from(["peers"].iter().chain(arguments)).expect("good options").options
    }

    #[test]
    fn only_a_run_of_everything_becomes_the_documentation() {
        assert!(parse(&[]).is_full());
        for less in [
            ["--quick"].as_slice(),
            &["--only", "storm,updates"],
            &["--rounds", "2"],
            &["--pairs", "2000"],
            &["--proxies", "8"],
        ] {
            assert!(!parse(less).is_full(), "{less:?}");
        }
        assert!(parse(&["--only", "storm,updates"]).wants(Part::Updates));
        assert!(!parse(&["--only", "storm,updates"]).wants(Part::Crash));
    }

    #[test]
    fn the_scale_is_that_of_the_targets() {
        let scale = parse(&[]).scale();
        assert_eq!((scale.pairs, scale.hub_tunnels, scale.rounds), (16_000, 30_000, 3));
        for rates in [scale.rates, parse(&["--quick"]).scale().rates] {
            assert!(rates.contains(&UPDATES_A_SECOND) && rates.is_sorted());
        }
    }
}
