//! The requests of programs that speak tailnet v2: docs/tailnet-v2.md, "HTTP".

use std::{str::FromStr as _, sync::Arc};

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, Request, State},
    http::{HeaderMap, Response, StatusCode, Uri, header},
    response::IntoResponse as _,
    routing::get,
};
use serde::Serialize;
use serde_json::value::RawValue;
use tailnet_wire::Role;
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    batch::request::{Admitted, AgentInfo, Denial},
    edge::{
        admission::{Admission, PATIENCE, Rejection},
        answer::RETRY_AFTER,
        credential,
        upgrade::{SocketOptions, Upgrade},
    },
    observe::trace::Trace,
    peer::v2::{Peer, ProtobufCodec, websocket::MAX_FRAME},
    state::derp_maps::{Found, Maps},
};

/// Programs print this text with help of their own.
const UNKNOWN_VERSION: &str = "Unknown or unsupported API version";

/// The only major version. Minor versions only add calls, and an unknown call is answered.
const MAJOR: u32 = 2;

const CONNECTION: &str = "/api/v2/workspaceagents/{agent}/connection";
const CONNECTION_OF_ALL: &str = "/api/v2/workspaceagents/connection";
const COORDINATE: &str = "/api/v2/workspaceagents/{agent}/coordinate";
const AGENT: &str = "/api/v2/workspaceagents/me/rpc";
const TAILNET: &str = "/api/v2/tailnet";
const REINIT: &str = "/api/v2/workspaceagents/me/reinit";

/// The routes of the protocol. What else programs ask for there is answered as not found.
pub fn routes() -> Router<Admission> {
    Router::new()
        .route(CONNECTION, get(connection))
        .route(CONNECTION_OF_ALL, get(connection_of_all))
        .route(COORDINATE, get(coordinate))
        .route(AGENT, get(agent))
        .route(TAILNET, get(tailnet))
        .route(REINIT, get(reinit))
        .route("/api/v2/{*rest}", get(async || Problem::new(StatusCode::NOT_FOUND, "Route not found.").answer()))
}

/// An error as programs expect it.
#[derive(Debug, Serialize)]
struct Problem {
    #[serde(skip)]
    status: StatusCode,
    message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    detail: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    validations: Vec<Validation>,
}

/// What is wrong with a parameter.
#[derive(Debug, Serialize)]
struct Validation {
    field: &'static str,
    detail: String,
}

impl Problem {
    fn new(status: StatusCode, message: &str) -> Self {
        Self { status, message: message.to_owned(), detail: String::new(), validations: Vec::new() }
    }

    fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    fn validation(mut self, field: &'static str, detail: impl Into<String>) -> Self {
        self.validations.push(Validation { field, detail: detail.into() });
        self
    }

    fn unavailable(detail: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "The coordinator takes no connections now.").detail(detail)
    }

    /// The same for an agent that does not exist, that is of another network, and that may not be reached.
    fn no_agent() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Resource not found or you do not have access to this resource")
    }

    fn answer(self) -> Response<Body> {
        let mut response = (self.status, Json(&self)).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        response
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        let unauthorized = |detail: &str| Self::new(StatusCode::UNAUTHORIZED, "The token is not good.").detail(detail);
        match rejection {
            Rejection::NoToken => unauthorized(
                "expected a token in Coder-Session-Token, in the cookie coder_session_token, or in Authorization: Bearer",
            ),
            Rejection::Mistyped => unauthorized("mistyped token: its checksum is wrong"),
            Rejection::Unknown | Rejection::Denied(Denial::Revoked | Denial::Other) => {
                unauthorized("unknown or revoked token")
            }
            Rejection::Denied(Denial::Expired) => unauthorized("expired token"),
            Rejection::Denied(Denial::Enrolment) => {
                unauthorized("an enrolment key opens no session: trade it for a token with POST /v1/enrol")
            }
            Rejection::Denied(Denial::Resume) => unauthorized("the resume token is not good").validation(
                "resume_token",
                "forged, expired, or of another key or network: connect without it as a new peer",
            ),
            Rejection::Denied(Denial::Full) => Self::new(StatusCode::FORBIDDEN, "The key has as many peers as it may."),
            Rejection::Unavailable(reason) => Self::unavailable(reason),
        }
    }
}

/// What a client asks before it connects.
#[derive(Debug, Serialize)]
struct Connection<'a> {
    derp_map: &'a RawValue,
    derp_force_websockets: bool,
    disable_direct_connections: bool,
    hostname_suffix: &'static str,
}

async fn connection(
    State(admission): State<Admission>,
    Path(agent): Path<String>,
    headers: HeaderMap,
) -> Response<Body> {
    describe(admission, Some(&agent), &headers).await.unwrap_or_else(Problem::answer)
}

async fn connection_of_all(State(admission): State<Admission>, headers: HeaderMap) -> Response<Body> {
    describe(admission, None, &headers).await.unwrap_or_else(Problem::answer)
}

async fn describe(admission: Admission, agent: Option<&str>, headers: &HeaderMap) -> Result<Response<Body>, Problem> {
    let token = credential::of(headers);
    let admitted = admission.admit(token, None, None).await?;
    if let Some(agent) = agent {
        reachable(&admission, token, agent, &admitted).await?;
    }
    let (_, found) = map(&admission, admitted.network).await?;
    let Some(map) = found.map else {
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "The network has no DERP map.")
            .detail("An operator sets one with: SELECT tailnet.set_derp_map(network, map)"));
    };
    let connection = Connection {
        derp_map: &map.json,
        derp_force_websockets: false,
        disable_direct_connections: false,
        hostname_suffix: "coder",
    };
    Ok(Json(connection).into_response())
}

/// A client of one agent.
async fn coordinate(State(admission): State<Admission>, Path(agent): Path<String>, request: Request) -> Response<Body> {
    upgrade(admission, COORDINATE, Some(&agent), request).await
}

/// A client of many agents, or a hub.
async fn tailnet(State(admission): State<Admission>, request: Request) -> Response<Body> {
    upgrade(admission, TAILNET, None, request).await
}

/// An agent.
async fn agent(State(admission): State<Admission>, request: Request) -> Response<Body> {
    upgrade(admission, AGENT, None, request).await
}

/// An agent program asks whether it is to begin anew, and asks again after an error. After this one, newer programs do not: of
/// 16,000 agents that would be 1,600 requests a second. No token is checked, because nothing is told.
async fn reinit() -> Response<Body> {
    Problem::new(StatusCode::CONFLICT, "An agent does not begin anew.").answer()
}

async fn upgrade(admission: Admission, route: &'static str, agent: Option<&str>, request: Request) -> Response<Body> {
    let trace = admission.switchboard.traces.begin(request.headers(), route, request.uri().path());
    let answer = accept(admission, route, agent, request, trace.as_ref()).await;
    let response = answer.unwrap_or_else(Problem::answer);
    if let Some(trace) = trace {
        trace.answered(response.status());
    }
    response
}

async fn accept(
    admission: Admission,
    route: &'static str,
    agent: Option<&str>,
    request: Request,
    trace: Option<&Arc<Trace>>,
) -> Result<Response<Body>, Problem> {
    check_version(request.uri())?;
    let resume = parameter(request.uri(), "resume_token").unwrap_or_default().to_owned();
    let token = credential::of(request.headers()).map(str::to_owned);
    let mut admitted = admission.admit(token.as_deref(), Some(&resume), trace).await?;
    if let Some(agent) = agent {
        admitted.only = Some(reachable(&admission, token.as_deref(), agent, &admitted).await?);
    }
    if route == AGENT && admitted.role != Role::Agent {
        return Err(Problem::new(StatusCode::FORBIDDEN, "Only an agent comes here.")
            .detail(format!("the token is that of a {}", admitted.role)));
    }
    let (maps, _) = map(&admission, admitted.network).await?;
    let info = match admitted.role {
        Role::Agent => Some(Arc::new(info(&admission, admitted.id.peer).await?)),
        Role::Client | Role::Hub => None,
    };
    let upgrade = Upgrade::new(request, None)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "Not a websocket.").detail(error.to_string()))?;
    let peer = Peer { id: admitted.id.peer, role: admitted.role, only: admitted.only, info };
    let (switchboard, shutdown) = (Arc::clone(&admission.switchboard), admission.options.shutdown.clone());
    let options = SocketOptions { subprotocol: None, max_message: MAX_FRAME };
    let codec = move |socket| ProtobufCodec::new(socket, peer, maps, switchboard, shutdown);
    Ok(admission.open(upgrade, options, admitted, trace, codec))
}

/// The agent of a path, if the peer may open a tunnel to it, or is it.
async fn reachable(
    admission: &Admission,
    token: Option<&str>,
    agent: &str,
    admitted: &Admitted,
) -> Result<Uuid, Problem> {
    let agent = Uuid::from_str(agent).map_err(|_| {
        Problem::new(StatusCode::BAD_REQUEST, "The path has no agent.").detail(format!("{agent:?} is not a uuid"))
    })?;
    if agent == admitted.id.peer {
        return Ok(agent);
    }
    let hash = crate::edge::token::hash(token.ok_or(Rejection::NoToken)?);
    match timeout(PATIENCE, admission.switchboard.may_dial(hash, agent)).await {
        Ok(Ok(true)) => Ok(agent),
        Ok(Ok(false)) => Err(Problem::no_agent()),
        Ok(Err(_)) | Err(_) => Err(Problem::unavailable("Postgres does not answer")),
    }
}

/// What an agent is told of itself.
async fn info(admission: &Admission, agent: Uuid) -> Result<AgentInfo, Problem> {
    match timeout(PATIENCE, admission.switchboard.agent_info(agent)).await {
        Ok(Ok(info)) => Ok(info),
        Ok(Err(_)) | Err(_) => Err(Problem::unavailable("Postgres does not answer")),
    }
}

/// The DERP map of a network, as soon as it is known whether there is one.
async fn map(admission: &Admission, network: Uuid) -> Result<(Maps, Found), Problem> {
    let mut maps = admission.switchboard.derp_map(network);
    let found = match timeout(PATIENCE, maps.wait_for(Option::is_some)).await {
        Ok(Ok(found)) => found.clone().unwrap_or_default(),
        Ok(Err(_)) | Err(_) => return Err(Problem::unavailable("Postgres does not answer")),
    };
    Ok((maps, found))
}

fn check_version(uri: &Uri) -> Result<(), Problem> {
    // Programs that are older than the parameter speak 1.0.
    let version = parameter(uri, "version").unwrap_or("1.0");
    let is_good = version
        .split_once('.')
        .is_some_and(|(major, minor)| major.parse() == Ok(MAJOR) && minor.parse::<u32>().is_ok());
    if is_good {
        return Ok(());
    }
    let detail = format!("version {version:?}, expected {MAJOR}.0 or a later {MAJOR}");
    Err(Problem::new(StatusCode::BAD_REQUEST, UNKNOWN_VERSION).validation("version", detail))
}

/// A parameter of the query, as it stands there: tokens and versions have no characters that are written in another way.
fn parameter<'a>(uri: &'a Uri, name: &str) -> Option<&'a str> {
    uri.query()?
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(query: &str) -> Option<String> {
        let uri = format!("/api/v2/tailnet{query}").parse().expect("a URI");
        check_version(&uri).err().map(|problem| serde_json::to_string(&problem).expect("JSON"))
    }

    #[test]
    fn any_minor_version_of_2_is_good() {
        for good in ["?version=2.0", "?x=1&version=2.10&role=agent"] {
            assert_eq!(version(good), None, "{good}");
        }
        for bad in ["", "?version=1.0", "?version=3.0", "?version=2", "?version=2.x", "?version="] {
            let problem = version(bad).expect(bad);
            let expected =
                r#"{"message":"Unknown or unsupported API version","validations":[{"field":"version","detail":""#;
            assert!(problem.starts_with(expected), "{problem}");
        }
    }
}
