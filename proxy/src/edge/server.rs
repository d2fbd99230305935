//! HTTP: the public listener with the upgrades, and the admin listener with the metrics.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{HeaderValue, Response, StatusCode, header},
    routing::get,
};

use crate::{
    edge::{
        admission::Admission,
        answer::{plain, unavailable},
        enrol, v1, v2,
    },
    state::switchboard::Switchboard,
};

/// The routes for peers and load balancers.
pub fn public(admission: Admission) -> Router {
    Router::new()
        .route("/healthz", get("ok\n"))
        .route("/readyz", get(readyz))
        .merge(v1::routes())
        .merge(v2::routes())
        .merge(enrol::routes())
        .with_state(admission)
}

/// The routes for operators.
pub fn admin(switchboard: Arc<Switchboard>) -> Router {
    Router::new().route("/metrics", get(metrics)).with_state(switchboard)
}

async fn readyz(State(admission): State<Admission>) -> Response<Body> {
    match admission.switchboard.readiness.check() {
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
