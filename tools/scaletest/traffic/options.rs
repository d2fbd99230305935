//! The options of `traffic`.

use std::time::Duration;

use clap::Args;
use tailnet_tools::program::time::{interval, time};

use crate::common::Common;

/// Of the options that others do not have.
const HEADING: &str = "What the peers do";

/// Connects pairs of an agent and a client, which find each other through the proxies and move bytes over WireGuard
///
/// Each pair has its two ends on different proxies, if there are two. Agent and client announce their keys and endpoints,
/// the client opens the tunnel, and they shake hands. When all pairs have done that, each client sends
/// --bytes-per-tick at every --tick-interval through the tunnel; its agent sends all of it back, and the client compares
/// each byte. WireGuard and TCP are real, in user space, over the loopback interface of this machine. A client that read
/// nothing at all has failed, as has a pair whose websocket ended.
///
/// Traffic ends after --for, counted from when all pairs have shaken hands; then --timeout is only a limit, and a run that
/// reaches it has failed. Without --for traffic goes on until --timeout, and that is the good end of the run.
#[derive(Debug, Clone, Args)]
#[command(
    mut_arg("peers", |arg| arg.help(PEERS)),
    mut_arg("concurrency", |arg| arg.help("How many pairs connect and shake hands at the same time at most; 0: no limit")),
    mut_arg("timeout", |arg| arg.help("The most time for the whole run, without the cleanup; without --for, traffic goes on until then")),
    mut_arg("job_timeout", |arg| arg.help(JOB_TIMEOUT)),
    mut_arg("seed", |arg| arg.help("The bytes follow from it [default: a random one, which is printed]")),
)]
#[command(after_long_help = "\
What it makes: one network, scaletest-SEED-RANDOM, with the identities and grants of this run; nothing else is touched. \
What it leaves: nothing, if the user of --database-url is a superuser. Otherwise the network and its identities, which \
are revoked. What a run leaves that was killed is removed by tailnet-scaletest cleanup.

What is printed: log lines, and at the end a summary, to stderr; the figures as --output says. With --log info each peer \
says how many bytes it has read and written, however it ends. The exit code is 0 only when every pair passed.

Example:
  tailnet-scaletest traffic --database-url postgres://ops:…@db/tailnet --proxy ws://one:8080 --proxy ws://two:8080 \
--peers 20 --bytes-per-tick 4096 --tick-interval 50ms --for 30s --output text --output json:result.json")]
pub struct Traffic {
    #[command(flatten)]
    pub common: Common,

    /// Bytes that each client sends at each tick, and gets back. What a tunnel cannot take in time leaves later, or never
    #[arg(help_heading = HEADING, long, env = "TAILNET_SCALETEST_BYTES_PER_TICK", value_name = "BYTES", default_value_t = 1024,
          value_parser = clap::value_parser!(u64).range(1..=1 << 30))]
    pub bytes_per_tick: u64,

    /// Between two ticks
    #[arg(help_heading = HEADING, long, env = "TAILNET_SCALETEST_TICK_INTERVAL", value_name = "TIME", default_value = "100ms", value_parser = interval)]
    pub tick_interval: Duration,

    /// For how long bytes move, from when all pairs have shaken hands [default: until --timeout]
    #[arg(help_heading = HEADING, long = "for", env = "TAILNET_SCALETEST_FOR", value_name = "TIME", value_parser = time)]
    pub span: Option<Duration>,
}

const PEERS: &str = "\
How many pairs: each is two peers, two websockets, two UDP sockets and four open files. A process has room for as many \
files as \"ulimit -Hn\" says, about 4,900 pairs with 20,000 files, if the machine can encrypt that much";

const JOB_TIMEOUT: &str = "\
The most time for one pair, from its first connect until it has shaken hands; also for what is under way at the end of \
the traffic";

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        traffic: Traffic,
    }

    fn parse(args: &[&str]) -> Result<Traffic, String> {
        let given = ["scaletest", "--database-url=postgres://u@h/d", "--proxy=ws://one"];
        let parsed = Program::try_parse_from(given.iter().chain(args));
        parsed.map(|program| program.traffic).map_err(|error| error.to_string())
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let options = parse(&[]).expect("these are good options");
        assert_eq!((options.bytes_per_tick, options.tick_interval.as_millis(), options.span), (1024, 100, None));
        for bad in ["--bytes-per-tick=0", "--bytes-per-tick=-1", "--tick-interval=0s", "--tick-interval=1", "--hub"] {
            assert!(parse(&[bad]).is_err(), "{bad}");
        }
    }
}
