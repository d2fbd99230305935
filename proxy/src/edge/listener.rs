//! Serves HTTP on a listener.
//!
//! axum's own loop has no deadline for the head of a request: connections that say nothing would keep their sockets for ever, until
//! no file is left for those that do.

use std::{io, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

/// A connection must send the head of a request within this time: the first one, and each other.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// After an error of the listener, such as no file that is left, the next connection may wait so long.
const PAUSE: Duration = Duration::from_millis(200);

/// Serves until `stop`. Connections that are open then go on: websockets end by themselves.
pub async fn serve(listener: TcpListener, routes: Router, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((socket, _)) => {
                tokio::spawn(serve_connection(socket, routes.clone()));
            }
            Err(error) if is_of_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "cannot accept connections");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn serve_connection(socket: TcpStream, routes: Router) {
    // A small frame must not wait for the answer to the one before.
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(socket), TowerToHyperService::new(routes))
        .with_upgrades();
    if let Err(error) = connection.await {
        tracing::debug!(%error, "connection failed");
    }
}

/// Whether only the connection that was about to be accepted failed.
fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
