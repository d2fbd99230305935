//! `POST /v1/enrol`: a machine trades the token of an enrolment key for a peer and a token of its own. docs/protocol.md,
//! "Enrolment".

use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderValue, Response, StatusCode, header},
    response::IntoResponse as _,
    routing::post,
};
use serde::Deserialize;
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    batch::request::{Enrolment, EnrolmentDenial},
    edge::{
        admission::{Admission, PATIENCE},
        answer::{plain, unauthorized, unavailable},
        token,
    },
};

/// The largest body, in bytes.
const MAX_BODY: usize = 4096;

/// What a machine says of itself.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Machine {
    machine: Uuid,
}

/// The route for machines.
pub fn routes() -> Router<Admission> {
    Router::new().route("/v1/enrol", post(enrol))
}

async fn enrol(State(admission): State<Admission>, request: Request) -> Response<Body> {
    let (Ok(response) | Err(response)) = trade(admission, request).await;
    response
}

async fn trade(admission: Admission, request: Request) -> Result<Response<Body>, Response<Body>> {
    let (head, body) = request.into_parts();
    let token = token::token(&head.headers)
        .ok_or_else(|| unauthorized("expected the token of an enrolment key in Authorization: Bearer <token>\n"))?;
    if token::is_mistyped(token) {
        return Err(unauthorized("mistyped token: its checksum is wrong\n"));
    }
    let body = timeout(PATIENCE, to_bytes(body, MAX_BODY)).await;
    let body = body.map_err(|_| bad("the body did not come"))?.map_err(|error| bad(&error.to_string()))?;
    let Machine { machine } = serde_json::from_slice(&body).map_err(|error| bad(&error.to_string()))?;
    if machine.is_nil() {
        return Err(bad("the machine is the nil uuid"));
    }
    admission.switchboard.readiness.check().map_err(unavailable)?;
    match timeout(PATIENCE, admission.switchboard.enrol(token::hash(token), machine)).await {
        Ok(Ok(Enrolment::Enrolled(enrolled))) => {
            tracing::info!(peer = %enrolled.peer_id, %machine, "enrolled");
            let mut response = Json(enrolled).into_response();
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            Ok(response)
        }
        Ok(Ok(Enrolment::Denied(denial))) => Err(denied(denial)),
        Ok(Ok(Enrolment::Unknown)) => Err(unauthorized("unknown or revoked enrolment key\n")),
        Ok(Err(_)) | Err(_) => Err(unavailable("Postgres does not answer")),
    }
}

fn denied(denial: EnrolmentDenial) -> Response<Body> {
    match denial {
        EnrolmentDenial::Revoked | EnrolmentDenial::Other => unauthorized("unknown or revoked enrolment key\n"),
        EnrolmentDenial::Expired => unauthorized("expired enrolment key\n"),
        EnrolmentDenial::Kind => unauthorized("the token is that of a shared key, expected that of an enrolment key\n"),
        EnrolmentDenial::Used => plain(StatusCode::FORBIDDEN, "the key was used as often as it may be\n", None),
    }
}

fn bad(problem: &str) -> Response<Body> {
    let text = format!("{problem}; expected a body such as {{\"machine\": \"<uuid>\"}}\n");
    plain(StatusCode::BAD_REQUEST, text, None)
}
