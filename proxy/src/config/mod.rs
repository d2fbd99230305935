//! All options, read before anything is opened.

mod renamed;

use std::{ffi::OsString, net::SocketAddr, time::Duration};

use clap::{Parser, ValueEnum};
use tailnet_traces::{Endpoint, Service, Settings, endpoint::EndpointError};
use tailnet_wire::{Chain, limits::MAX_BATCH};
use uuid::Uuid;

use crate::{
    batch::batcher::Batching,
    message::ask::MAX_REPORTS,
    postgres::{
        authorities::Authorities,
        database::{Database, DatabaseError},
    },
};

/// Carries websocket peers of a tailnet onto one LISTEN channel of Postgres.
///
/// Peers connect to ws://LISTEN/v1/coordinate. When both listeners are bound, the proxy writes one line to stdout:
/// "listening public=ADDRESS admin=ADDRESS". SIGTERM or Ctrl-C drains the proxy. A second signal ends it at once.
#[derive(Debug, Clone, Parser)]
#[command(version)]
pub struct Config {
    /// Where Postgres is: postgres://user:password@host:port,host:port/database. Of several hosts the proxy uses the one
    /// that takes writes, also after a failover. The user must be in the role tailnet_proxy. With sslmode=require the
    /// proxy uses TLS and checks the certificate and the host name. Otherwise it uses no TLS.
    #[arg(long, env = "TAILNET_DATABASE_URL", hide_env_values = true, value_name = "URL", value_parser = database)]
    pub database_url: Database,

    /// A PEM file with the certificate authorities that may sign the certificate of Postgres. With it the proxy demands TLS,
    /// as with sslmode=require [default: the authorities of the system].
    #[arg(long, env = "TAILNET_DATABASE_CA", value_name = "FILE", value_parser = authorities)]
    pub database_ca: Option<Authorities>,

    /// The address for peers and load balancers: /v1/coordinate, /healthz, /readyz. Port 0 means any free port.
    #[arg(long, env = "TAILNET_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub listen: SocketAddr,

    /// The address for operators: /metrics. It has no password, so do not make it public. Port 0 means any free port.
    #[arg(long, env = "TAILNET_ADMIN_LISTEN", default_value = "127.0.0.1:9090", value_name = "ADDRESS")]
    pub admin_listen: SocketAddr,

    /// The name under which operators find this proxy in tailnet.coordinators [default: the host's name].
    #[arg(long, env = "TAILNET_NAME", value_name = "NAME")]
    pub name: Option<String>,

    /// Connections that check tokens and ask for the pages of large views; 0: the default, 2.
    #[arg(long, env = "TAILNET_QUERIER_WORKERS", default_value_t = 0, value_name = "COUNT", value_parser = workers())]
    pub querier_workers: u32,

    /// Connections that open, announce and end sessions; 0: the default, 2. More of them do not help within one network,
    /// because Postgres changes a network one batch at a time.
    #[arg(long, env = "TAILNET_BINDER_WORKERS", default_value_t = 0, value_name = "COUNT", value_parser = workers())]
    pub binder_workers: u32,

    /// Connections that open and close tunnels; 0: the default, 2.
    #[arg(long, env = "TAILNET_TUNNELER_WORKERS", default_value_t = 0, value_name = "COUNT", value_parser = workers())]
    pub tunneler_workers: u32,

    /// Connections that carry ready-for-handshake; 0: the default, 1.
    #[arg(long, env = "TAILNET_HANDSHAKER_WORKERS", default_value_t = 0, value_name = "COUNT", value_parser = workers())]
    pub handshaker_workers: u32,

    /// The most requests in one call to Postgres. In a larger batch each request costs less, but the batch holds the lock of
    /// its network for longer.
    #[arg(long, env = "TAILNET_BATCH_LIMIT", default_value_t = 500, value_name = "COUNT", value_parser = batch_limit())]
    pub batch_limit: u16,

    /// The longest time that the proxy may put between two calls of one kind, such as 100ms. It measures how long calls take
    /// and how many requests arrive, and chooses a time: next to nothing at rest, more under load. A full batch never waits.
    #[arg(long, env = "TAILNET_BATCH_INTERVAL", default_value = "100ms", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub batch_interval: Duration,

    /// The most agents in one write of when agents were connected.
    #[arg(long, env = "TAILNET_LIVENESS_LIMIT", default_value_t = 500, value_name = "COUNT", value_parser = batch_limit())]
    pub liveness_limit: u16,

    /// How long the proxy may wait to write that an agent was heard, such as 5s. It writes connects and disconnects at once.
    #[arg(long, env = "TAILNET_LIVENESS_INTERVAL", default_value = "5s", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub liveness_interval: Duration,

    /// The most reports in one write of connection logs.
    #[arg(long, env = "TAILNET_REPORT_LIMIT", default_value_t = 500, value_name = "COUNT", value_parser = batch_limit())]
    pub report_limit: u16,

    /// How long a report of a connection may wait for others, such as 1s.
    #[arg(long, env = "TAILNET_REPORT_INTERVAL", default_value = "1s", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub report_interval: Duration,

    /// The most reports that wait to be written, for example while Postgres is away. When there is no room, the proxy does
    /// not read agents that report until there is. At least 1024, the most reports of one frame.
    #[arg(long, env = "TAILNET_REPORT_QUEUE", default_value_t = 10_000, value_name = "COUNT", value_parser = report_queue)]
    pub report_queue: usize,

    /// How often the proxy pings each peer, such as 15s or 500ms. It closes a peer that leaves two pings unanswered, and the
    /// peer is lost.
    #[arg(long, env = "TAILNET_PING_INTERVAL", default_value = "15s", value_name = "TIME", value_parser = interval)]
    pub ping_interval: Duration,

    /// How long Postgres may be away before the proxy sends its peers to other proxies (close 1013). It does that slowly,
    /// within about 30s. A restart or a failover of Postgres should be over sooner.
    #[arg(long, env = "TAILNET_SHED_AFTER", default_value = "60s", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub shed_after: Duration,

    /// The most time that a shutdown may take to close all peers and to write what waits, such as 10s.
    #[arg(long, env = "TAILNET_DRAIN_TIME", default_value = "10s", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub drain_time: Duration,

    /// Where to send traces: the base URL of an OpenTelemetry collector that takes OTLP over HTTP with protobuf, such as
    /// http://127.0.0.1:4318, without TLS [default: nowhere]. The proxy traces a connection when the traceparent of its
    /// upgrade is sampled.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL", default_value = "", hide_default_value = true,
          value_parser = collector)]
    pub otlp_endpoint: Collector,

    /// The name of the service in traces [default: tailnet-proxy].
    #[arg(long, env = "OTEL_SERVICE_NAME", value_name = "NAME")]
    pub service_name: Option<String>,

    /// The share of the connections without a traceparent that the proxy traces too, from 0 to 1.
    #[arg(long, env = "OTEL_TRACES_SAMPLER_ARG", value_name = "RATIO", default_value = "0", value_parser = ratio)]
    pub trace_ratio: f64,

    /// What the proxy logs to stderr: a level (error, warn, info, debug, trace), or a list such as
    /// "info,tailnet_proxy=debug".
    #[arg(long, env = "TAILNET_LOG", default_value = "info,tokio_postgres=warn", value_name = "FILTER", value_parser = filter)]
    pub log: String,

    /// The format of the log lines.
    #[arg(long, env = "TAILNET_LOG_FORMAT", default_value = "text", value_name = "FORMAT")]
    pub log_format: LogFormat,
}

/// Where traces go; None: nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector(pub Option<Endpoint>);

/// The least time between two writes of connects and disconnects of agents. Nobody waits for these writes.
const CONNECTS_PACE: Duration = Duration::from_millis(50);

/// The forms of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one object a line.
    Json,
}

/// The number of workers of each kind that has an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workers {
    /// Of `--querier-workers`.
    pub querier: usize,
    /// Of `--binder-workers`.
    pub binder: usize,
    /// Of `--tunneler-workers`.
    pub tunneler: usize,
    /// Of `--handshaker-workers`.
    pub handshaker: usize,
}

impl Config {
    /// Reads the options from arguments and the environment, and says what to warn about once the log is started. Ends the
    /// process when an option is wrong or help is asked for.
    pub fn read() -> (Self, Vec<String>) {
        Self::read_from(std::env::args_os(), |name| std::env::var_os(name)).unwrap_or_else(|error| error.exit())
    }

    fn read_from(
        arguments: impl IntoIterator<Item = OsString>,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<(Self, Vec<String>), clap::Error> {
        let (arguments, warnings) = renamed::translate(arguments, variable);
        Ok((Self::try_parse_from(arguments)?, warnings))
    }

    /// How this proxy reaches Postgres.
    ///
    /// # Errors
    /// When TLS is demanded and cannot be used.
    pub fn database(&self) -> Result<Database, DatabaseError> {
        self.database_url.clone().named(&self.name()).vouched_for(self.database_ca.clone())
    }

    /// The number of workers, with the defaults filled in.
    pub fn workers(&self) -> Workers {
        let or = |given: u32, default: usize| if given == 0 { default } else { given as usize };
        Workers {
            querier: or(self.querier_workers, 2),
            binder: or(self.binder_workers, 2),
            tunneler: or(self.tunneler_workers, 2),
            handshaker: or(self.handshaker_workers, 1),
        }
    }

    /// How requests that change coordination become batches: naturally, at a pace.
    pub fn batching(&self) -> Batching {
        Batching {
            limit: usize::from(self.batch_limit),
            linger: Duration::ZERO,
            least: Duration::ZERO,
            most: self.batch_interval,
        }
    }

    /// How sightings of agents become batches.
    pub fn liveness_batching(&self) -> Batching {
        Batching {
            limit: usize::from(self.liveness_limit),
            linger: self.liveness_interval,
            least: CONNECTS_PACE.min(self.liveness_interval),
            most: CONNECTS_PACE,
        }
    }

    /// How reports become batches. Those that agents wait for do not linger: their batches have a pace.
    pub fn report_batching(&self) -> Batching {
        Batching {
            limit: usize::from(self.report_limit),
            linger: self.report_interval,
            least: Duration::ZERO,
            most: self.batch_interval,
        }
    }

    /// How the traces of this coordinator are exported.
    pub fn traces(&self, coordinator: Uuid) -> Settings {
        let service = Service {
            default_name: env!("CARGO_PKG_NAME"),
            name: self.service_name.clone().filter(|name| !name.is_empty()),
            version: env!("CARGO_PKG_VERSION"),
            instance: coordinator.to_string(),
        };
        Settings { service, ratio: self.trace_ratio, queue: None }
    }

    /// The name of this proxy.
    pub fn name(&self) -> String {
        self.name.clone().unwrap_or_else(|| gethostname::gethostname().to_string_lossy().into_owned())
    }
}

fn batch_limit() -> clap::builder::RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(1..=MAX_BATCH as i64)
}

fn workers() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(0..=64)
}

fn report_queue(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(room) if (MAX_REPORTS..=10_000_000).contains(&room) => Ok(room),
        _ => Err(format!("expected a number from {MAX_REPORTS} to 10000000")),
    }
}

/// clap shows the text of an error and not its causes, so the text has them.
fn database(url: &str) -> Result<Database, String> {
    url.parse().map_err(|error: DatabaseError| Chain(&error).to_string())
}

fn authorities(path: &str) -> Result<Authorities, String> {
    Authorities::read(path.as_ref()).map_err(|error| Chain(&error).to_string())
}

/// An empty text means none, as for all variables of OpenTelemetry.
fn collector(text: &str) -> Result<Collector, EndpointError> {
    if text.is_empty() { Ok(Collector(None)) } else { text.parse().map(|endpoint| Collector(Some(endpoint))) }
}

fn ratio(text: &str) -> Result<f64, String> {
    match text.parse() {
        _ if text.is_empty() => Ok(0.0),
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => Err("expected a number from 0 to 1".to_owned()),
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("expected a time above zero".to_owned()),
        Ok(interval) => Ok(interval),
        Err(error) => Err(error.to_string()),
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
    use super::*;

    fn parse(args: &[&str]) -> Result<Config, String> {
        let url = "--database-url=postgres://u:secret@one:5432,two:5433/d";
        Config::try_parse_from(["tailnet-proxy", url].iter().chain(args)).map_err(|error| error.to_string())
    }

    #[test]
    fn zero_workers_are_the_default() {
        let config = parse(&["--binder-workers=0", "--handshaker-workers=3"]).expect("good options");
        assert_eq!(config.workers(), Workers { querier: 2, binder: 2, tunneler: 2, handshaker: 3 });
    }

    #[test]
    fn an_option_works_under_its_old_name() {
        let arguments = ["tailnet-proxy", "--database-url=postgres://u@h/d", "--heartbeat-interval=7s"];
        let (config, warnings) =
            Config::read_from(arguments.map(OsString::from), |_| None).expect("the old name is known");
        assert_eq!(config.liveness_interval, Duration::from_secs(7));
        assert!(warnings[0].contains("--liveness-interval"), "{warnings:?}");
    }

    #[test]
    fn times_have_units() {
        let config = parse(&["--ping-interval=500ms", "--drain-time=2s"]).expect("good options");
        assert_eq!((config.ping_interval, config.drain_time), (Duration::from_millis(500), Duration::from_secs(2)));
    }

    #[test]
    fn what_cannot_work_is_refused() {
        for (wrong, expected) in [
            ("--ping-interval=0s", "a time above zero"),
            ("--ping-interval=15", "15"),
            ("--batch-limit=0", "1..=4096"),
            ("--batch-limit=4097", "1..=4096"),
            ("--listen=nowhere", "nowhere"),
            ("--log=a=b=c", "a=b=c"),
            ("--otlp-endpoint=https://h:4318", "expected http://"),
            ("--otlp-endpoint=h:4318", "base URL of an OTLP collector"),
            ("--trace-ratio=1.5", "from 0 to 1"),
            ("--database-url=mysql://x", "not a Postgres connection URL"),
            ("--database-ca=/nowhere", "cannot read certificates from /nowhere"),
            ("--database-ca=Cargo.toml", "Cargo.toml has no certificate, expected PEM"),
        ] {
            let error = if wrong.starts_with("--database-url") {
                Config::try_parse_from(["tailnet-proxy", wrong]).expect_err(wrong).to_string()
            } else {
                parse(&[wrong]).expect_err(wrong)
            };
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn an_empty_variable_of_opentelemetry_is_none() {
        let config = parse(&["--otlp-endpoint=", "--service-name=", "--trace-ratio="]).expect("good options");
        assert_eq!((&config.otlp_endpoint, config.trace_ratio), (&Collector(None), 0.0));
        assert_eq!(config.traces(Uuid::nil()).service.name, None);
    }

    #[test]
    fn the_password_is_never_printed() {
        let config = parse(&[]).expect("good options");
        assert!(!format!("{config:?}").contains("secret"));
    }
}
