//! The options of `coordinate`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::output::Output;

/// Connects pairs of an agent and a client to proxies, lets them meet, and measures how updates of nodes travel
///
/// Each pair has its two ends on different proxies, if there are two. Agent and client announce their nodes, the client
/// opens the tunnel, and each must be told the other's node. Then agents change their nodes at a steady rate, and each
/// change is timed from the moment that it was due until it arrives on the client's websocket. At the end what every peer
/// was told is compared with the tables, and all websockets must be open still.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "\
What it makes: one network, scaletest-SEED-RANDOM, with the identities and grants of this run; nothing else is touched. \
What it leaves: nothing, if the user of --database-url is a superuser. Otherwise the network and its identities, which \
are revoked: no function removes those. A run that was killed leaves identities whose tokens nobody knows any more; \
with SELECT tailnet.revoke_peer(peer_id) FROM tailnet.identities WHERE network = 'scaletest-…' they are revoked.

What is printed: log lines, and at the end a summary, to stderr; the figures as --output says. \
The exit code is 0 only when every runner passed.

Example:
  tailnet-scaletest coordinate --database-url postgres://ops:…@db/tailnet --proxy ws://one:8080 --proxy ws://two:8080 \
--peers 1000 --updates-per-second 500 --for 30s --output text --output json:result.json")]
pub struct Coordinate {
    /// The database of the proxies, as a user that may call tailnet.create_network, create_peer, grant_tunnel and
    /// revoke_peer and is in the role tailnet_reader, or a superuser. No TLS yet: sslmode=require is refused. The check at
    /// the end reads the peers and tunnels of all networks, some times.
    #[arg(long, env = "TAILNET_SCALETEST_DATABASE_URL", hide_env_values = true, value_name = "URL", value_parser = database)]
    pub database_url: tokio_postgres::Config,

    /// A proxy, as peers reach it: ws://host:port. Give one for each proxy. Behind it may be a load balancer
    #[arg(long = "proxy", env = "TAILNET_SCALETEST_PROXY", value_name = "URL", value_delimiter = ',', required = true)]
    pub proxies: Vec<String>,

    /// How many pairs: each is two peers, two websockets and two open files. A process has room for as many files as
    /// "ulimit -Hn" says, about 9,900 pairs with 20,000 files: start several processes for more
    #[arg(long, env = "TAILNET_SCALETEST_PEERS", value_name = "PAIRS", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub peers: u32,

    /// One hub besides, with tunnels to all agents
    #[arg(long, env = "TAILNET_SCALETEST_HUB")]
    pub hub: bool,

    /// How the pairs come: all at once, or evenly spread over --ramp-time
    #[arg(long, env = "TAILNET_SCALETEST_LOAD", value_name = "HOW", default_value = "storm")]
    pub load: Load,

    /// Over how long a ramp spreads the pairs
    #[arg(long, env = "TAILNET_SCALETEST_RAMP_TIME", value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    pub ramp_time: Duration,

    /// How many pairs connect at the same time at most; 0: no limit
    #[arg(long, env = "TAILNET_SCALETEST_CONCURRENCY", value_name = "COUNT", default_value_t = 0)]
    pub concurrency: u32,

    /// Changes of nodes a second, of all agents together, in random order; 0: none. They are due at this rate whether or
    /// not the ones before have arrived
    #[arg(long, env = "TAILNET_SCALETEST_UPDATES_PER_SECOND", value_name = "RATE", default_value_t = 0.0, value_parser = rate)]
    pub updates_per_second: f64,

    /// For how long nodes change
    #[arg(long = "for", env = "TAILNET_SCALETEST_FOR", value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    pub span: Duration,

    /// The most time for the whole run, without the cleanup
    #[arg(long, env = "TAILNET_SCALETEST_TIMEOUT", value_name = "TIME", default_value = "30m", value_parser = humantime::parse_duration)]
    pub timeout: Duration,

    /// The most time for one pair, from its first connect until its views are right; also for what is under way at the
    /// end of the updates, and for the check
    #[arg(long, env = "TAILNET_SCALETEST_JOB_TIMEOUT", value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    pub job_timeout: Duration,

    /// Where the figures go: text or json, on stdout or in a file, as in json:result.json. May be given several times
    #[arg(
        long = "output",
        env = "TAILNET_SCALETEST_OUTPUT",
        value_name = "FORM[:PATH]",
        value_delimiter = ',',
        default_value = "text"
    )]
    pub outputs: Vec<Output>,

    /// How many failures are shown in full; the others are counted
    #[arg(long, env = "TAILNET_SCALETEST_MAX_FAILURES", value_name = "COUNT", default_value_t = 10)]
    pub max_failures: usize,

    /// The order in which agents change their nodes follows from it [default: a random one, which is printed]
    #[arg(long, env = "TAILNET_SCALETEST_SEED")]
    pub seed: Option<u64>,

    /// What is logged to stderr: a level (error, warn, info, debug, trace), or a list as in "info,tokio_postgres=warn"
    #[arg(long, env = "TAILNET_SCALETEST_LOG", value_name = "FILTER", default_value = "warn", value_parser = filter)]
    pub log: String,
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

impl Coordinate {
    /// How many websockets.
    pub fn sockets(&self) -> usize {
        2 * self.peers as usize + usize::from(self.hub)
    }

    /// After which time a pair starts to connect.
    pub fn start_of(&self, pair: usize) -> Duration {
        match self.load {
            Load::Storm => Duration::ZERO,
            Load::Ramp => self.ramp_time.mul_f64(pair as f64 / f64::from(self.peers)),
        }
    }
}

fn database(url: &str) -> Result<tokio_postgres::Config, String> {
    let config: tokio_postgres::Config = url.parse().map_err(|error: tokio_postgres::Error| error.to_string())?;
    match config.get_ssl_mode() {
        tokio_postgres::config::SslMode::Require => Err("there is no TLS to Postgres yet".to_owned()),
        _ => Ok(config),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.0..=1e6).contains(&rate) => Ok(rate),
        _ => Err("expected a number from 0 to 1000000".to_owned()),
    }
}

fn filter(text: &str) -> Result<String, String> {
    match text.parse::<tracing_subscriber::EnvFilter>() {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        coordinate: Coordinate,
    }

    fn parse(args: &[&str]) -> Result<Coordinate, String> {
        let given = ["scaletest", "--database-url=postgres://u@h/d", "--proxy=ws://one", "--proxy=ws://two"];
        let parsed = Program::try_parse_from(given.iter().chain(args));
        parsed.map(|program| program.coordinate).map_err(|error| error.to_string())
    }

    #[test]
    fn a_ramp_spreads_the_pairs_evenly() {
        let ramp = parse(&["--load=ramp", "--ramp-time=10s", "--peers=4"]).expect("these are good options");
        assert_eq!([0, 1, 3].map(|pair| ramp.start_of(pair).as_millis()), [0, 2500, 7500]);
        let storm = parse(&["--peers=4", "--hub"]).expect("these are good options");
        assert_eq!((storm.start_of(3), storm.sockets()), (Duration::ZERO, 9));
    }

    #[test]
    fn lists_may_be_repeated() {
        let options = parse(&["--output=text", "--output=json:a.json"]).expect("these are good options");
        assert_eq!((options.proxies.len(), options.outputs.len()), (2, 2));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for bad in ["--peers=0", "--updates-per-second=-1", "--updates-per-second=NaN", "--output=xml", "--log=a=b=c"] {
            assert!(parse(&[bad]).is_err(), "{bad}");
        }
        let refused = Program::try_parse_from(["scaletest", "--database-url=postgres://u@h/d?sslmode=require"]);
        assert!(refused.expect_err("no TLS").to_string().contains("no TLS"));
    }
}
