//! The upgrade of peers that speak `tailnet.v1.json`: docs/protocol.md, "Peers".

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{Response, StatusCode},
    routing::get,
};

use crate::{
    batch::request::Denial,
    edge::{
        admission::{Admission, Rejection},
        answer::{plain, unauthorized, unavailable},
        resume, token,
        upgrade::{SocketOptions, Upgrade},
    },
    observe::trace::Trace,
    peer::v1::{JsonCodec, SUBPROTOCOL, from_peer::MAX_MESSAGE, map_frames::MapFrames},
};

/// The path of the upgrade.
const ROUTE: &str = "/v1/coordinate";

/// The route for peers.
pub fn routes() -> Router<Admission> {
    Router::new().route(ROUTE, get(coordinate))
}

async fn coordinate(State(admission): State<Admission>, request: Request) -> Response<Body> {
    let trace = admission.switchboard.traces.begin(request.headers(), ROUTE, ROUTE);
    let (Ok(response) | Err(response)) = accept(admission, request, trace.as_ref()).await;
    if let Some(trace) = trace {
        trace.answered(response.status());
    }
    response
}

async fn accept(
    admission: Admission,
    request: Request,
    trace: Option<&Arc<Trace>>,
) -> Result<Response<Body>, Response<Body>> {
    let resume = resume::asked(request.headers(), request.uri());
    let token = token::token(request.headers());
    let admitted = admission.admit(token, resume.as_deref(), trace).await.map_err(rejected)?;
    let upgrade = Upgrade::new(request, Some(SUBPROTOCOL))
        .map_err(|error| plain(StatusCode::BAD_REQUEST, format!("{error}\n"), None))?;
    let options = SocketOptions { subprotocol: Some(SUBPROTOCOL), max_message: MAX_MESSAGE };
    let peer = admitted.id.peer;
    let maps = MapFrames::new(Arc::clone(&admission.switchboard), admitted.network);
    Ok(admission.open(upgrade, options, admitted, trace, move |socket| JsonCodec::new(socket, peer, maps)))
}

fn rejected(rejection: Rejection) -> Response<Body> {
    let text = match rejection {
        Rejection::NoToken => {
            "expected a token in Authorization: Bearer <token>, or in the subprotocol bearer.<token>\n"
        }
        Rejection::Mistyped => "mistyped token: its checksum is wrong\n",
        Rejection::Unknown | Rejection::Denied(Denial::Revoked | Denial::Other) => "unknown or revoked token\n",
        Rejection::Denied(Denial::Expired) => "expired token\n",
        Rejection::Denied(Denial::Resume) => {
            "the resume token is forged, expired, or of another key or network: connect without it as a new peer\n"
        }
        Rejection::Denied(Denial::Enrolment) => {
            "an enrolment key opens no session: trade it for a token with POST /v1/enrol\n"
        }
        Rejection::Denied(Denial::Full) => {
            return plain(StatusCode::FORBIDDEN, "the key has as many peers as it may\n", None);
        }
        Rejection::Unavailable(reason) => return unavailable(reason),
    };
    unauthorized(text)
}
