//! The options of `coordinate`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;
use tailnet_tools::program::time::time;

use crate::common::Common;

/// Of the options that others do not have.
const HEADING: &str = "What the peers do";

/// Connects pairs of an agent and a client to proxies, lets them meet, and measures how updates of nodes travel
///
/// Each pair has its two ends on different proxies, if there are two. Agent and client announce their nodes, the client
/// opens the tunnel, and each must be told the other's node. Then agents change their nodes at a steady rate, and each
/// change is timed from the moment that it was due until it arrives on the client's websocket. Then peers leave and come
/// back at the rate --churn, which is timed until all that a peer and its partner must be told was told. At the end what every peer
/// was told is compared with the tables, for which the peers and tunnels of all networks are read, some times; and all
/// websockets must be open still.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "\
What it makes: one network, scaletest-SEED-RANDOM, with the identities and grants of this run; nothing else is touched. \
What it leaves: nothing, if the user of --database-url is a superuser. Otherwise the network and its identities, which \
are revoked: no function removes those. What a run leaves that was killed is removed by tailnet-scaletest cleanup.

What is printed: log lines, and at the end a summary, to stderr; the figures as --output says. \
The exit code is 0 only when every runner passed.

Example:
  tailnet-scaletest coordinate --database-url postgres://ops:…@db/tailnet --proxy ws://one:8080 --proxy ws://two:8080 \
--peers 1000 --updates-per-second 500 --for 30s --output text --output json:result.json")]
pub struct Coordinate {
    #[command(flatten)]
    pub common: Common,

    /// One hub besides, with tunnels to all agents
    #[arg(help_heading = HEADING, long, env = "TAILNET_SCALETEST_HUB")]
    pub hub: bool,

    /// How the pairs come: all at once, or evenly spread over --ramp-time
    #[arg(help_heading = HEADING, long, env = "TAILNET_SCALETEST_LOAD", value_name = "HOW", default_value = "storm")]
    pub load: Load,

    /// Over how long a ramp spreads the pairs
    #[arg(help_heading = HEADING, long, env = "TAILNET_SCALETEST_RAMP_TIME", value_name = "TIME", default_value = "30s", value_parser = time)]
    pub ramp_time: Duration,

    /// Changes of nodes a second, of all agents together, in random order; 0: none. They are due at this rate whether or
    /// not the ones before have arrived
    #[arg(help_heading = HEADING, long, env = "TAILNET_SCALETEST_UPDATES_PER_SECOND", value_name = "RATE", default_value_t = 0.0, value_parser = rate)]
    pub updates_per_second: f64,

    /// For how long nodes change
    #[arg(help_heading = HEADING, long = "for", env = "TAILNET_SCALETEST_FOR", value_name = "TIME", default_value = "10s", value_parser = time)]
    pub span: Duration,

    /// Peers that leave and come back a second, of all agents and clients together, in random order; 0: none. It happens
    /// after the changes of nodes, and each comes back at once, with another node
    #[arg(help_heading = HEADING, long, env = "TAILNET_SCALETEST_CHURN", value_name = "RATE", default_value_t = 0.0, value_parser = rate)]
    pub churn: f64,

    /// For how long peers leave and come back
    #[arg(help_heading = HEADING, long, env = "TAILNET_SCALETEST_CHURN_FOR", value_name = "TIME", default_value = "10s", value_parser = time)]
    pub churn_for: Duration,

    /// In which ways, each as often as the others
    #[arg(help_heading = HEADING, long, env = "TAILNET_SCALETEST_CHURN_BY", value_name = "WAYS", value_delimiter = ',', default_value = "goodbye,vanish,tunnel")]
    pub churn_by: Vec<Way>,
}

/// How the pairs come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Load {
    /// All at once
    Storm,
    /// One after the other, evenly spread
    Ramp,
}

/// How a peer leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum Way {
    /// Says goodbye
    Goodbye,
    /// Closes its websocket without a word
    Vanish,
    /// Stays, but a client closes its tunnel and opens it again
    Tunnel,
}

impl Coordinate {
    /// After which time a pair starts to connect.
    pub fn start_of(&self, pair: usize) -> Duration {
        match self.load {
            Load::Storm => Duration::ZERO,
            Load::Ramp => self.ramp_time.mul_f64(pair as f64 / f64::from(self.common.peers)),
        }
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.0..=1e6).contains(&rate) => Ok(rate),
        _ => Err("expected a number from 0 to 1000000".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::run::Scenario as _;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        coordinate: Coordinate,
    }

    fn parse(args: &[&str]) -> Result<Coordinate, String> {
        let given = ["scaletest", "--database-url=postgres://u@h/d", "--proxy=ws://one"];
        let parsed = Program::try_parse_from(given.iter().chain(args));
        parsed.map(|program| program.coordinate).map_err(|error| error.to_string())
    }

    #[test]
    fn a_ramp_spreads_the_pairs_evenly() {
        let ramp = parse(&["--load=ramp", "--ramp-time=10s", "--peers=4"]).expect("these are good options");
        assert_eq!([0, 1, 3].map(|pair| ramp.start_of(pair).as_millis()), [0, 2500, 7500]);
        let storm = parse(&["--peers=4", "--hub"]).expect("these are good options");
        assert_eq!((storm.start_of(3), storm.peers(), storm.runners()), (Duration::ZERO, 9, 5));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for bad in
            ["--updates-per-second=-1", "--updates-per-second=NaN", "--load=flood", "--churn=x", "--churn-by=fire"]
        {
            assert!(parse(&[bad]).is_err(), "{bad}");
        }
    }
}
