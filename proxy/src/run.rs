//! The life of the process: bind, serve, drain.

use std::{future::IntoFuture as _, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, serve::ListenerExt as _};
use tailnet_traces::{Export, ExportError};
use tokio::{
    net::TcpListener,
    time::{Instant, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    binder::Binder,
    config::Config,
    coordinator::Coordinator,
    database::{Database, DatabaseError},
    handshaker::Handshaker,
    heartbeater::Heartbeater,
    hub::Hub,
    querier::Querier,
    reporter::Reporter,
    server::{self, Server},
    session::Options,
    shedder::Shedder,
    traces::Traces,
    tunneler::Tunneler,
    worker::Workshop,
};

/// The most time for the last traces: a collector that does not answer must not keep a proxy from ending.
const FLUSH_TIME: Duration = Duration::from_secs(3);

/// What keeps the proxy from starting.
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
}

/// A proxy with its listeners bound.
#[derive(Debug)]
pub struct Proxy {
    config: Config,
    database: Database,
    hub: Hub,
    public: TcpListener,
    admin: TcpListener,
}

impl Proxy {
    /// Binds the listeners. Neither Postgres nor the collector of traces need be there.
    ///
    /// # Errors
    /// When an address cannot be bound, or the options of TLS or of the export of traces do not fit together.
    pub async fn bind(config: Config) -> Result<Self, StartError> {
        let database = config.database()?;
        let (public, admin) = (bind(config.listen).await?, bind(config.admin_listen).await?);
        let mut hub = Hub::new(config.report_queue);
        if let Some(endpoint) = &config.otlp_endpoint.0 {
            let settings = config.traces(hub.coordinator);
            let export = Export::start(endpoint, settings, hub.metrics.spans.clone())?;
            hub.traces = Traces::exported(export, config.trace_ratio);
        }
        Ok(Self { config, database, hub, public, admin })
    }

    /// The addresses of the public and of the admin listener.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn addresses(&self) -> io::Result<(SocketAddr, SocketAddr)> {
        Ok((self.public.local_addr()?, self.admin.local_addr()?))
    }

    /// Serves until `shutdown`, then drains.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { config, database, hub, public, admin } = self;
        let (name, workers) = (config.name(), config.workers());
        let hub = Arc::new(hub);

        let (closing, stop) = (CancellationToken::new(), CancellationToken::new());
        let coordinator = Coordinator::new(&name, Arc::clone(&hub), database.clone());
        let coordinator = tokio::spawn(coordinator.run(closing.clone()));

        let tasks = TaskTracker::new();
        let shop = Workshop { hub: Arc::clone(&hub), database, stop: stop.clone() };
        shop.hire(&Querier, workers.querier, config.batching(), &tasks);
        shop.hire(&Binder, workers.binder, config.batching(), &tasks);
        shop.hire(&Tunneler, workers.tunneler, config.batching(), &tasks);
        shop.hire(&Handshaker, workers.handshaker, config.batching(), &tasks);
        // One connection each: what they write is sorted, and two batches at once would only wait for each other.
        shop.hire(&Heartbeater, 1, config.heartbeat_batching(), &tasks);
        shop.hire(&Reporter, 1, config.report_batching(), &tasks);

        let sessions = TaskTracker::new();
        let server = Server {
            hub: Arc::clone(&hub),
            sessions: sessions.clone(),
            options: Options { ping_interval: config.ping_interval, shutdown: shutdown.clone() },
        };
        tasks.spawn(Shedder::new(Arc::clone(&hub), config.shed_after).run(shutdown.clone()));
        tasks.spawn(serve(public, server.public(), shutdown.clone()));
        tasks.spawn(serve(admin, server::admin(Arc::clone(&hub)), stop.clone()));

        shutdown.cancelled().await;
        let end = Instant::now() + config.drain_time;
        hub.drain();
        sessions.close();
        let drain = async {
            // What peers asked for before they were closed is written first; then one call marks all of them lost.
            hub.idle().await;
            closing.cancel();
            if let Err(error) = coordinator.await {
                tracing::error!(%error, "the coordinator failed");
            }
            sessions.wait().await;
            // That all agents are disconnected by now, and what they reported.
            hub.records_written().await;
        };
        if timeout_at(end, drain).await.is_err() {
            tracing::warn!(waiting = sessions.len(), "drain time is over");
        }
        stop.cancel();
        hub.traces.flush(FLUSH_TIME.min(end - Instant::now())).await;
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Bind { address, source })
}

/// Serves until `stop`; open websockets are no part of it.
async fn serve(listener: TcpListener, routes: Router, stop: CancellationToken) {
    let listener = listener.tap_io(|socket| {
        // A small frame must not wait for the answer to the one before.
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
    });
    let served = stop.run_until_cancelled(axum::serve(listener, routes).into_future()).await;
    if let Some(Err(error)) = served {
        tracing::error!(%error, "listener failed");
    }
}
