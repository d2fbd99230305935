//! Calls that are answered at once, each with one message.

use std::time::SystemTime;

use prost::Message as _;
use prost_types::Duration;
use tailnet_v2::messages::{
    path,
    tailnet::{RefreshResumeTokenResponse, TelemetryEvent, TelemetryRequest, TelemetryResponse, telemetry_event},
};
use tailnet_wire::{Role, limits::RESUME_LIFE};

use crate::{
    observe::telemetry::{Connection, Path},
    peer::v2::agent,
    state::switchboard::Switchboard,
};

/// How soon a client asks for its resume token again. The token is good for a month.
const REFRESH: Duration = Duration { seconds: 24 * 60 * 60, nanos: 0 };

/// What a peer may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// See `coordination`.
    Coordinate,
    /// The DERP map of the network, and each change of it.
    StreamDerpMaps,
    /// The token with which the peer comes back as the same peer.
    RefreshResumeToken,
    /// What a client measures.
    PostTelemetry,
    /// What only agents call.
    Agent(agent::Method),
}

impl Method {
    /// The method with this path; None: there is none for this role.
    pub fn of(path: &str, role: Role) -> Option<Self> {
        match path {
            path::COORDINATE => Some(Self::Coordinate),
            path::STREAM_DERP_MAPS => Some(Self::StreamDerpMaps),
            path::REFRESH_RESUME_TOKEN => Some(Self::RefreshResumeToken),
            path::POST_TELEMETRY => Some(Self::PostTelemetry),
            path if role == Role::Agent => agent::Method::of(path).map(Self::Agent),
            _ => None,
        }
    }
}

/// The answer to a call for a resume token, which was made at this time.
pub fn resume_token(token: &str, made_at: SystemTime) -> Vec<u8> {
    let expires_at = made_at + RESUME_LIFE;
    RefreshResumeTokenResponse {
        token: token.to_owned(),
        refresh_in: Some(REFRESH),
        expires_at: Some(expires_at.into()),
    }
    .encode_to_vec()
}

/// Takes what a client measured.
///
/// # Errors
/// When the message cannot be read.
pub fn telemetry(switchboard: &Switchboard, message: &[u8]) -> Result<Vec<u8>, String> {
    let request = TelemetryRequest::decode(message).map_err(|error| format!("not a TelemetryRequest: {error}"))?;
    for event in &request.events {
        switchboard.metrics.telemetry.take(&connection(event));
    }
    Ok(TelemetryResponse {}.encode_to_vec())
}

fn connection(event: &TelemetryEvent) -> Connection {
    let seconds = |time: Option<Duration>| {
        time.and_then(|time| std::time::Duration::try_from(time).ok()).map(|time| time.as_secs_f64())
    };
    let direct = event.p2p_endpoint.is_some() || event.p2p_latency.is_some();
    Connection {
        path: if direct { Path::P2p } else { Path::Derp },
        begins: event.status() == telemetry_event::Status::Connected,
        setup: seconds(event.connection_setup),
        latency: seconds(if direct { event.p2p_latency } else { event.derp_latency }),
    }
}
