//! The life of the process: bind, serve, drain.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tailnet_traces::{Export, ExportError};
use tokio::{
    net::TcpListener,
    time::{Instant, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::Config,
    edge::{admission::Admission, listener::serve, server},
    observe::traces::Traces,
    peer::session::Options,
    postgres::{
        coordinator::Coordinator,
        database::{Database, DatabaseError},
        shedder::Shedder,
        worker::Workforce,
        workers::{Binder, Describer, Handshaker, Liveness, Querier, Reporter, Tunneler},
    },
    state::switchboard::Switchboard,
};

/// The most time for the last traces: a collector that does not answer must not keep a proxy from ending.
const FLUSH_TIME: Duration = Duration::from_secs(3);

/// Why the proxy does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener cannot be bound.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address that was asked for.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Postgres cannot be reached as is demanded.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Traces cannot be exported.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The system does not let the proxy handle signals.
    #[error("cannot handle signals")]
    Signals(#[source] io::Error),
    /// The system does not tell the addresses of the listeners.
    #[error("cannot read the addresses")]
    Addresses(#[source] io::Error),
    /// The addresses cannot be written to stdout.
    #[error("cannot write to stdout")]
    Stdout(#[source] io::Error),
}

/// A proxy with its listeners bound.
#[derive(Debug)]
pub struct Proxy {
    config: Config,
    database: Database,
    switchboard: Switchboard,
    public: TcpListener,
    admin: TcpListener,
}

impl Proxy {
    /// Binds the listeners. Postgres and the collector of traces may be away.
    ///
    /// # Errors
    /// When an address cannot be bound, or the options of TLS or of the export of traces do not fit together.
    pub async fn bind(config: Config) -> Result<Self, StartError> {
        let database = config.database()?;
        let (public, admin) = (bind(config.listen).await?, bind(config.admin_listen).await?);
        let mut switchboard = Switchboard::new(config.report_queue);
        if let Some(endpoint) = &config.otlp_endpoint.0 {
            let settings = config.traces(switchboard.coordinator);
            let export = Export::start(endpoint, settings, switchboard.metrics.spans.clone())?;
            switchboard.traces = Traces::exported(export, config.trace_ratio);
        }
        Ok(Self { config, database, switchboard, public, admin })
    }

    /// The addresses of the public and of the admin listener.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn addresses(&self) -> Result<(SocketAddr, SocketAddr), StartError> {
        let address = |listener: &TcpListener| listener.local_addr().map_err(StartError::Addresses);
        Ok((address(&self.public)?, address(&self.admin)?))
    }

    /// Serves until `shutdown`, then drains.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { config, database, switchboard, public, admin } = self;
        let (name, workers) = (config.name(), config.workers());
        let switchboard = Arc::new(switchboard);

        let (closing, stop) = (CancellationToken::new(), CancellationToken::new());
        let coordinator = Coordinator::new(&name, Arc::clone(&switchboard), database.clone());
        let coordinator = tokio::spawn(coordinator.run(closing.clone()));

        let tasks = TaskTracker::new();
        let workforce = Workforce { switchboard: Arc::clone(&switchboard), database, stop: stop.clone() };
        workforce.hire(&Querier, workers.querier, config.batching(), &tasks);
        workforce.hire(&Binder, workers.binder, config.batching(), &tasks);
        workforce.hire(&Tunneler, workers.tunneler, config.batching(), &tasks);
        workforce.hire(&Handshaker, workers.handshaker, config.batching(), &tasks);
        // One worker each: their batches are sorted by key, so two at once would only wait for each other.
        workforce.hire(&Liveness, 1, config.liveness_batching(), &tasks);
        workforce.hire(&Describer, 1, config.report_batching(), &tasks);
        workforce.hire(&Reporter, 1, config.report_batching(), &tasks);

        let sessions = TaskTracker::new();
        let admission = Admission {
            switchboard: Arc::clone(&switchboard),
            sessions: sessions.clone(),
            options: Options { ping_interval: config.ping_interval, shutdown: shutdown.clone() },
        };
        tasks.spawn(Shedder::new(Arc::clone(&switchboard), config.shed_after).run(shutdown.clone()));
        tasks.spawn(serve(public, server::public(admission), shutdown.clone()));
        tasks.spawn(serve(admin, server::admin(Arc::clone(&switchboard)), stop.clone()));

        shutdown.cancelled().await;
        let end = Instant::now() + config.drain_time;
        switchboard.drain();
        sessions.close();
        let drain = async {
            // First write what peers asked for before they were closed. Then one call marks all of them lost.
            switchboard.idle().await;
            closing.cancel();
            if let Err(error) = coordinator.await {
                tracing::error!(%error, "the coordinator failed");
            }
            sessions.wait().await;
            // Write that all agents are disconnected, and what they reported.
            switchboard.records_written().await;
        };
        if timeout_at(end, drain).await.is_err() {
            tracing::warn!(waiting = sessions.len(), "drain time is over");
        }
        stop.cancel();
        switchboard.traces.flush(FLUSH_TIME.min(end - Instant::now())).await;
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Bind { address, source })
}
