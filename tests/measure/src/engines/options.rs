//! The options, all of them.

use clap::{Args, Subcommand, ValueEnum};

use crate::engines::replica::Publish;

/// What the extension costs at the database, against the design that it replaces, and against itself
///
/// TAILNET_TEST_DATABASE_URL is the superuser's URL of a private Postgres with pg_tailnet on this machine, such as
/// "tests/bench-run engines" starts. Databases are made in it, and removed when all went well.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Figures are one JSON object on stdout, with the fields machine, fan_out, size and hub (null: not measured); progress \
is on stderr. A figure is the median of the rounds, with the least and the most. The exit code is 0 only when everything \
could be measured and every view was right; a target that is missed is no failure.

Examples:
  tests/bench-run engines fan-out --engine both > fan-out.json
  tests/bench-run engines --quick all")]
pub struct Options {
    /// A few seconds for each command: to see that it works, not to be believed
    #[arg(long, global = true)]
    pub quick: bool,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    FanOut(FanOut),
    Size(Size),
    /// The update of an agent when a hub has tunnels to 30,000 agents, against the same without the hub
    Hub,
    /// All of them, with their defaults
    All,
}

/// Node updates fanned out, by the extension and by the prior design, with the same load
///
/// Pairs of peers hold their sessions on different ones of four coordinators. An update is fanned out when the
/// coordinator that holds the partner has the new node in hand; there are no websockets.
#[derive(Debug, Clone, Args)]
pub struct FanOut {
    /// Which engines
    #[arg(long, value_name = "ENGINE", default_value = "both")]
    pub engine: Engines,
    /// How many peers, two for each pair [default: 8000, quick: 1000]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(24..=100_000))]
    pub peers: Option<u32>,
    /// How many updates are in flight when an engine is saturated [default: one of each peer]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub in_flight: Option<u32>,
    /// How often each engine is measured, in turn [default: 3, quick: 1]
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..))]
    pub rounds: Option<u8>,
    /// How a replica of the prior design tells the others of a change
    #[arg(long, value_name = "HOW", default_value = "separately")]
    pub publish: Publish,
    /// Connections that the ten workers of a role of a replica share; as many as a role of the proxy has by default
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=10))]
    pub replica_connections: u8,
}

impl Default for FanOut {
    /// What "fan-out" without options is.
    fn default() -> Self {
        Self {
            engine: Engines::Both,
            peers: None,
            in_flight: None,
            rounds: None,
            publish: Publish::Separately,
            replica_connections: 2,
        }
    }
}

/// An update among up to 1,000,000 peers, against one among 10,000
///
/// Two databases, one of which grows; calls of 500 updates to both are interleaved. Rows and indexes are real, each peer has a
/// partner on another coordinator, which listens.
#[derive(Debug, Clone, Default, Args)]
pub struct Size {
    /// The most peers [default: 1000000, quick: 30000]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(10_000..))]
    pub peers: Option<u32>,
}

/// The engines that are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Engines {
    /// The prior design: the coordinator in replicas of an application server
    Replicas,
    /// The extension
    Extension,
    /// Both in turn, and the prior design also as well as it can be made: notified in the transaction of the upsert, over
    /// one connection a role
    Both,
}
