//! Who may come in: the same for all wire formats.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, http::Response};
use opentelemetry::trace::SpanKind;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::{
    batch::request::{Admitted, Authentication, Denial},
    edge::{
        token,
        upgrade::{SocketOptions, Upgrade},
    },
    observe::trace::{Closing, Trace},
    peer::{
        codec::Codec,
        session::{self, Options},
        socket::Socket,
    },
    state::switchboard::Switchboard,
};

/// Postgres must answer within this time, or the peer gets 503.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// What all connections have in common.
#[derive(Debug, Clone)]
pub struct Admission {
    /// The state of the proxy.
    pub switchboard: Arc<Switchboard>,
    /// The tasks of all sessions.
    pub sessions: TaskTracker,
    /// What all sessions have in common.
    pub options: Options,
}

/// Why a peer does not come in. Each wire format words it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// It shows no token.
    NoToken,
    /// The checksum of its token is wrong.
    Mistyped,
    /// Its token is not known.
    Unknown,
    /// Its token is known, and opens no session.
    Denied(Denial),
    /// No sessions are taken now.
    Unavailable(&'static str),
}

impl Admission {
    /// Checks a token, and the resume token that came with it.
    pub async fn admit(
        &self,
        token: Option<&str>,
        resume: Option<&str>,
        trace: Option<&Arc<Trace>>,
    ) -> Result<Admitted, Rejection> {
        let token = token.ok_or(Rejection::NoToken)?;
        if token::is_mistyped(token) {
            return Err(Rejection::Mistyped);
        }
        self.switchboard.readiness.check().map_err(Rejection::Unavailable)?;
        let checking = trace.map(|trace| trace.child("authenticate", SpanKind::Internal, Vec::new()));
        let asked = self.switchboard.authenticate(token::hash(token), resume.unwrap_or_default().to_owned());
        let answer = timeout(PATIENCE, asked).await;
        drop(checking);
        let mut admitted = match answer {
            Ok(Ok(Authentication::Admitted(admitted))) => admitted,
            Ok(Ok(Authentication::Denied(denial))) => return Err(Rejection::Denied(denial)),
            Ok(Ok(Authentication::Unknown)) => return Err(Rejection::Unknown),
            Ok(Err(_)) | Err(_) => return Err(Rejection::Unavailable("Postgres does not answer")),
        };
        admitted.resume = admitted.resume.filter(|_| resume.is_some());
        Ok(admitted)
    }

    /// Answers an upgrade, and serves the session of the connection that opens.
    pub fn open<C: Codec>(
        self,
        upgrade: Upgrade,
        socket: SocketOptions,
        admitted: Admitted,
        trace: Option<&Arc<Trace>>,
        codec: impl FnOnce(Socket) -> C + Send + 'static,
    ) -> Response<Body> {
        let (response, socket) = upgrade.answer(socket);
        let Self { switchboard, sessions, options } = self;
        let Admitted { id, role, .. } = admitted;
        switchboard.traces.hold(id, role, trace.cloned());
        sessions.spawn(async move {
            match socket.await {
                Ok(socket) => session::run(codec(socket), switchboard, admitted, options).await,
                Err(error) => {
                    tracing::debug!(%id, trace_id = switchboard.traces.id(id), %error, "upgrade failed");
                    switchboard.end_trace(id, Closing::Gone);
                }
            }
        });
        response
    }
}
