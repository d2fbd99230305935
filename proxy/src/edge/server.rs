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
    batch::request::{Admitted, Authentication, Denial},
    edge::{resume, token, upgrade::Upgrade},
    observe::trace::{Closing, Trace},
    peer::{session, v1::JsonCodec},
    state::switchboard::Switchboard,
};

/// A peer whose token is not checked within this time gets 503.
const AUTHENTICATE_TIMEOUT: Duration = Duration::from_secs(5);

/// Seconds after which a refused peer may try again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("2");

/// The public listener.
#[derive(Debug, Clone)]
pub struct Server {
    pub switchboard: Arc<Switchboard>,
    pub sessions: TaskTracker,
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

    async fn authenticate(&self, token: &str, resume: Option<&str>) -> Result<Admitted, Response<Body>> {
        let resume = resume.unwrap_or_default().to_owned();
        let answer = timeout(AUTHENTICATE_TIMEOUT, self.switchboard.authenticate(token::hash(token), resume)).await;
        match answer {
            Ok(Ok(Authentication::Admitted(admitted))) => Ok(admitted),
            Ok(Ok(Authentication::Denied(denial))) => Err(denied(denial)),
            Ok(Ok(Authentication::Unknown)) => Err(unauthorized("unknown or revoked token\n")),
            Ok(Err(_)) | Err(_) => Err(unavailable("Postgres does not answer")),
        }
    }
}

/// The routes for operators.
pub fn admin(switchboard: Arc<Switchboard>) -> Router {
    Router::new().route("/metrics", get(metrics)).with_state(switchboard)
}

async fn coordinate(State(server): State<Server>, request: Request) -> Response<Body> {
    let trace = server.switchboard.traces.begin(request.headers());
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
    let token = token::token(request.headers()).ok_or_else(|| {
        unauthorized("expected a token in Authorization: Bearer <token>, or in the subprotocol bearer.<token>\n")
    })?;
    if token::is_mistyped(token) {
        return Err(unauthorized("mistyped token: its checksum is wrong\n"));
    }
    server.switchboard.readiness.check().map_err(unavailable)?;
    let checking = trace.map(|trace| trace.child("authenticate", SpanKind::Internal, Vec::new()));
    let resume = resume::asked(request.headers(), request.uri());
    let mut admitted = server.authenticate(token, resume.as_deref()).await?;
    admitted.resume = admitted.resume.filter(|_| resume.is_some());
    drop(checking);
    let upgrade = Upgrade::new(request).map_err(|error| plain(StatusCode::BAD_REQUEST, format!("{error}\n"), None))?;
    let (response, socket) = upgrade.answer();
    let Server { switchboard, sessions, options } = server;
    let Admitted { id, role, .. } = admitted;
    switchboard.traces.hold(id, role, trace.cloned());
    sessions.spawn(async move {
        match socket.await {
            Ok(socket) => session::run(JsonCodec::new(socket, id.peer), switchboard, admitted, options).await,
            Err(error) => {
                tracing::debug!(%id, trace_id = switchboard.traces.id(id), %error, "upgrade failed");
                switchboard.end_trace(id, Closing::Gone);
            }
        }
    });
    Ok(response)
}

async fn readyz(State(server): State<Server>) -> Response<Body> {
    match server.switchboard.readiness.check() {
        Ok(()) => plain(StatusCode::OK, "ready\n", None),
        Err(reason) => unavailable(reason),
    }
}

async fn metrics(State(switchboard): State<Arc<Switchboard>>) -> Response<Body> {
    const OPEN_METRICS: HeaderValue =
        HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    let mut response = Response::new(Body::from(switchboard.metrics.text()));
    response.headers_mut().insert(header::CONTENT_TYPE, OPEN_METRICS);
    response
}

fn unauthorized(text: &'static str) -> Response<Body> {
    plain(StatusCode::UNAUTHORIZED, text, Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))))
}

/// The token is known, and opens no session.
fn denied(denial: Denial) -> Response<Body> {
    match denial {
        Denial::Revoked | Denial::Other => unauthorized("unknown or revoked token\n"),
        Denial::Expired => unauthorized("expired token\n"),
        Denial::Resume => unauthorized(
            "the resume token is forged, expired, or of another key or network: connect without it as a new peer\n",
        ),
        Denial::Full => plain(StatusCode::FORBIDDEN, "the key has as many peers as it may\n", None),
    }
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
