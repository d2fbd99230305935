//! The options that subcommands share.

use std::{net::SocketAddr, time::Duration};

use clap::Args;
use tailnet_tools::{checking::light_peer::Door, program::time::time, websocket::Protocol};

use crate::{output::Output, trace::Tracing};

/// Where the database of the proxies is.
#[derive(Debug, Clone, Args)]
pub struct Access {
    /// The database of the proxies, as a user that may call tailnet.create_network, create_peer, grant_tunnel and
    /// revoke_peer and is in the role tailnet_reader, or a superuser. No TLS yet: sslmode=require is refused
    #[arg(long, env = "TAILNET_SCALETEST_DATABASE_URL", hide_env_values = true, value_name = "URL", value_parser = database)]
    pub database_url: tokio_postgres::Config,
}

/// What is logged.
#[derive(Debug, Clone, Args)]
pub struct Logging {
    /// What is logged to stderr: a level (error, warn, info, debug, trace), or a list as in "info,tokio_postgres=warn"
    #[arg(long, env = "TAILNET_SCALETEST_LOG", value_name = "FILTER", default_value = "warn", value_parser = filter)]
    pub log: String,
}

/// What every run of peers needs to know.
#[derive(Debug, Clone, Args)]
pub struct Common {
    #[command(flatten)]
    pub access: Access,

    /// A proxy, as peers reach it: ws://host:port. Give one for each proxy. Behind it may be a load balancer
    #[arg(long = "proxy", env = "TAILNET_SCALETEST_PROXY", value_name = "URL", value_delimiter = ',', required = true)]
    pub proxies: Vec<String>,

    /// What the peers speak
    #[arg(long, env = "TAILNET_SCALETEST_PROTOCOL", value_name = "PROTOCOL", value_enum, default_value_t)]
    pub protocol: Protocol,

    /// How many pairs: each is two peers, two websockets and two open files. A process has room for as many files as
    /// "ulimit -Hn" says, about 9,900 pairs with 20,000 files: start several processes for more
    #[arg(long, env = "TAILNET_SCALETEST_PEERS", value_name = "PAIRS", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub peers: u32,

    /// How many pairs connect at the same time at most; 0: no limit
    #[arg(long, env = "TAILNET_SCALETEST_CONCURRENCY", value_name = "COUNT", default_value_t = 0)]
    pub concurrency: u32,

    /// The most time for the whole run, without the cleanup
    #[arg(long, env = "TAILNET_SCALETEST_TIMEOUT", value_name = "TIME", default_value = "30m", value_parser = time)]
    pub timeout: Duration,

    /// The most time for one pair, from its first connect until its views are right, and from when one of it leaves until
    /// they are right again; also for what is under way at the end of the updates, and for the check
    #[arg(long, env = "TAILNET_SCALETEST_JOB_TIMEOUT", value_name = "TIME", default_value = "60s", value_parser = time)]
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

    /// The order in which agents change their nodes, and peers leave, follows from it [default: a random one, which is printed]
    #[arg(long, env = "TAILNET_SCALETEST_SEED")]
    pub seed: Option<u64>,

    /// Where to show the progress of the run to Prometheus, as http://ADDRESS/metrics; with port 0 a free one is taken, and
    /// printed [default: nowhere]
    #[arg(long, env = "TAILNET_SCALETEST_METRICS_LISTEN", value_name = "ADDRESS")]
    pub metrics_listen: Option<SocketAddr>,

    #[command(flatten)]
    pub tracing: Tracing,

    #[command(flatten)]
    pub logging: Logging,
}

impl Common {
    /// How many pairs may connect at the same time.
    pub fn permits(&self) -> usize {
        let limit = if self.concurrency == 0 { self.peers } else { self.concurrency };
        limit as usize
    }

    /// The proxies of the two ends of a pair: different ones, if there are two.
    pub fn doors(&self, pair: usize) -> [Door; 2] {
        [pair, pair + 1].map(|place| {
            let url = self.proxies[place % self.proxies.len()].clone();
            Door { name: url.clone(), url, protocol: self.protocol }
        })
    }
}

fn database(url: &str) -> Result<tokio_postgres::Config, String> {
    let config: tokio_postgres::Config = url.parse().map_err(|error: tokio_postgres::Error| error.to_string())?;
    match config.get_ssl_mode() {
        tokio_postgres::config::SslMode::Require => Err("there is no TLS to Postgres yet".to_owned()),
        _ => Ok(config),
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
        common: Common,
    }

    fn parse(args: &[&str]) -> Result<Common, String> {
        let given = ["scaletest", "--database-url=postgres://u@h/d", "--proxy=ws://one", "--proxy=ws://two"];
        let parsed = Program::try_parse_from(given.iter().chain(args));
        parsed.map(|program| program.common).map_err(|error| error.to_string())
    }

    #[test]
    fn lists_may_be_repeated() {
        let options = parse(&["--output=text", "--output=json:a.json"]).expect("these are good options");
        assert_eq!((options.proxies.len(), options.outputs.len()), (2, 2));
        assert_eq!(options.doors(3).map(|door| door.url), ["ws://two", "ws://one"]);
        assert_eq!(parse(&["--protocol=v2"]).map(|options| options.protocol), Ok(Protocol::V2));
    }

    #[test]
    fn no_concurrency_is_no_limit() {
        let permits = |args: &[&str]| parse(args).expect("these are good options").permits();
        assert_eq!([permits(&["--peers=7"]), permits(&["--peers=7", "--concurrency=3"])], [7, 3]);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for bad in ["--peers=0", "--output=xml", "--log=a=b=c", "--timeout=1", "--timeout=9999years"] {
            assert!(parse(&[bad]).is_err(), "{bad}");
        }
        let refused = Program::try_parse_from(["scaletest", "--database-url=postgres://u@h/d?sslmode=require"]);
        assert!(refused.expect_err("no TLS").to_string().contains("no TLS"));
    }
}
