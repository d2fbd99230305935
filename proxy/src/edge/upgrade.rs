//! The websocket handshake of RFC 6455, section 4.2.
//!
//! tungstenite checks it. axum's own extractor is not used, because it hides the stream below the websocket: the proxy must
//! read and throw away what a peer sent too much before it closes the socket, or TCP resets the connection and the peer
//! never sees why.

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderValue, Response, header},
};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        error::{Error, ProtocolError},
        handshake::server::create_response_with_body,
        protocol::{Role, WebSocketConfig},
    },
};

use crate::{
    edge::token,
    peer::v1::{SUBPROTOCOL, Socket, frame::MAX_MESSAGE},
};

/// The read buffer of a connection, in bytes. It grows for a larger message; an idle peer sends only pongs. The default of
/// tungstenite is 128 KiB.
const READ_BUFFER: usize = 512;

/// Why a request cannot become a websocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UpgradeError {
    /// It asks for no websocket.
    #[error("expected a websocket upgrade: GET with Upgrade: websocket, Connection: upgrade and a Sec-WebSocket-Key")]
    NoUpgrade,
    /// It asks for another version.
    #[error("expected Sec-WebSocket-Version: 13")]
    Version,
    /// It does not offer the subprotocol.
    #[error("expected the subprotocol {SUBPROTOCOL} in Sec-WebSocket-Protocol")]
    Subprotocol,
}

/// A request that may become a websocket.
#[derive(Debug)]
pub struct Upgrade {
    response: Response<Body>,
    upgrade: OnUpgrade,
}

impl Upgrade {
    /// Checks the request.
    ///
    /// # Errors
    /// Says what was expected.
    pub fn new(mut request: Request) -> Result<Self, UpgradeError> {
        let mut response = create_response_with_body(&request, Body::empty).map_err(|error| match error {
            Error::Protocol(ProtocolError::MissingSecWebSocketVersionHeader) => UpgradeError::Version,
            _ => UpgradeError::NoUpgrade,
        })?;
        if !token::subprotocols(request.headers()).any(|protocol| protocol == SUBPROTOCOL) {
            return Err(UpgradeError::Subprotocol);
        }
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
        Ok(Self { response, upgrade: hyper::upgrade::on(&mut request) })
    }

    /// The answer that opens the websocket, and the websocket, which opens when the answer was sent.
    pub fn answer(self) -> (Response<Body>, impl Future<Output = Result<Socket, hyper::Error>>) {
        let Self { response, upgrade } = self;
        let socket = async {
            let io = TokioIo::new(upgrade.await?);
            let config = WebSocketConfig::default()
                .read_buffer_size(READ_BUFFER)
                .write_buffer_size(0) // each frame is flushed anyway
                .max_message_size(Some(MAX_MESSAGE))
                .max_frame_size(Some(MAX_MESSAGE));
            Ok(WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await)
        };
        (response, socket)
    }
}
