//! HTTP: the public listener with the upgrade, and the admin listener with the metrics.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Response, StatusCode, header},
    routing::get,
};
use opentelemetry::trace::SpanKind;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::{
    auth,
    hub::Hub,
    id::Identity,
    session,
    trace::{Closing, Trace},
    upgrade::Upgrade,
};

/// Who waits longer for the answer to its token gets 503.
const AUTHENTICATE_TIMEOUT: Duration = Duration::from_secs(5);

/// Seconds after which a refused peer may try again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("2");

/// What the public listener needs.
#[derive(Debug, Clone)]
pub struct Server {
    /// The shared state.
    pub hub: Arc<Hub>,
    /// All sessions.
    pub sessions: TaskTracker,
    /// What each of them gets.
    pub options: session::Options,
}

impl Server {
    /// The routes for peers and load balancers.
    pub fn public(self) -> Router {
        Router::new()
            .route("/v1/coordinate", get(coordinate))
            .route("/healthz", get("ok\n"))
            .route("/readyz", get(readyz))
            .with_state(self)
    }

    async fn authenticate(&self, token: &str) -> Result<Identity, Response<Body>> {
        let answer = timeout(AUTHENTICATE_TIMEOUT, self.hub.authenticate(auth::hash(token))).await;
        match answer {
            Ok(Ok(Some(id))) => Ok(id),
            Ok(Ok(None)) => Err(unauthorized("unknown or revoked token\n")),
            Ok(Err(_)) | Err(_) => Err(unavailable("Postgres does not answer")),
        }
    }
}

/// The routes for operators.
pub fn admin(hub: Arc<Hub>) -> Router {
    Router::new().route("/metrics", get(metrics)).with_state(hub)
}

async fn coordinate(State(server): State<Server>, request: Request) -> Response<Body> {
    let trace = server.hub.traces.begin(request.headers());
    let (Ok(response) | Err(response)) = accept(server, request, trace.as_ref()).await;
    if let Some(trace) = trace {
        trace.answered(response.status());
    }
    response
}

async fn accept(
    server: Server,
    request: Request,
    trace: Option<&Arc<Trace>>,
) -> Result<Response<Body>, Response<Body>> {
    let token = auth::token(request.headers()).ok_or_else(|| {
        unauthorized("expected a token in Authorization: Bearer <token>, or in the subprotocol bearer.<token>\n")
    })?;
    server.hub.readiness.check().map_err(unavailable)?;
    let checking = trace.map(|trace| trace.child("authenticate", SpanKind::Internal, Vec::new()));
    let identity = server.authenticate(token).await?;
    drop(checking);
    let upgrade = Upgrade::new(request).map_err(|error| plain(StatusCode::BAD_REQUEST, format!("{error}\n"), None))?;
    let (response, socket) = upgrade.answer();
    let Server { hub, sessions, options } = server;
    hub.traces.hold(identity, trace.cloned());
    sessions.spawn(async move {
        match socket.await {
            Ok(socket) => session::run(socket, hub, identity, options).await,
            Err(error) => {
                tracing::debug!(id = %identity.id, trace_id = hub.traces.id(identity.id), %error, "upgrade failed");
                hub.end_trace(identity.id, Closing::Gone);
            }
        }
    });
    Ok(response)
}

async fn readyz(State(server): State<Server>) -> Response<Body> {
    match server.hub.readiness.check() {
        Ok(()) => plain(StatusCode::OK, "ready\n", None),
        Err(reason) => unavailable(reason),
    }
}

async fn metrics(State(hub): State<Arc<Hub>>) -> Response<Body> {
    const OPEN_METRICS: HeaderValue =
        HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    let mut response = Response::new(Body::from(hub.metrics.text()));
    response.headers_mut().insert(header::CONTENT_TYPE, OPEN_METRICS);
    response
}

fn unauthorized(text: &'static str) -> Response<Body> {
    plain(StatusCode::UNAUTHORIZED, text, Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))))
}

fn unavailable(reason: &'static str) -> Response<Body> {
    plain(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n"), Some((header::RETRY_AFTER, RETRY_AFTER)))
}

fn plain(status: StatusCode, text: impl Into<Body>, extra: Option<(HeaderName, HeaderValue)>) -> Response<Body> {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().extend(extra);
    response
}
