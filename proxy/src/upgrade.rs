//! The websocket handshake of RFC 6455, section 4.2.
//!
//! Done here because axum's own extractor hides the stream below the websocket: what a peer sent too much must be
//! read and thrown away before the socket is closed, or TCP resets the connection and the peer never sees why.

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header},
};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        handshake::derive_accept_key,
        protocol::{Role, WebSocketConfig},
    },
};

use crate::{
    auth,
    frame::{MAX_MESSAGE, SUBPROTOCOL},
};

/// An open websocket.
pub type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Allocated for each connection, and grown for a larger message: an idle peer sends pongs only. tungstenite's own default
/// is 128 KiB.
const READ_BUFFER: usize = 512;

/// What a request must have to become a websocket, and has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UpgradeError {
    /// A plain request.
    #[error("expected a websocket upgrade: GET with Upgrade: websocket, Connection: upgrade and a Sec-WebSocket-Key")]
    NoUpgrade,
    /// Of another version.
    #[error("expected Sec-WebSocket-Version: 13")]
    Version,
    /// Without our subprotocol.
    #[error("expected the subprotocol {SUBPROTOCOL} in Sec-WebSocket-Protocol")]
    Subprotocol,
}

/// A request that may become a websocket.
#[derive(Debug)]
pub struct Upgrade {
    accept: HeaderValue,
    upgrade: OnUpgrade,
}

impl Upgrade {
    /// Checks the request.
    ///
    /// # Errors
    /// Says what was expected.
    pub fn new(mut request: Request) -> Result<Self, UpgradeError> {
        let headers = request.headers();
        let key = headers.get(header::SEC_WEBSOCKET_KEY);
        let asked = request.method() == Method::GET
            && lists(headers, &header::CONNECTION, "upgrade")
            && lists(headers, &header::UPGRADE, "websocket");
        let (true, Some(key)) = (asked, key) else { return Err(UpgradeError::NoUpgrade) };
        if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            return Err(UpgradeError::Version);
        }
        if !auth::subprotocols(headers).any(|protocol| protocol == SUBPROTOCOL) {
            return Err(UpgradeError::Subprotocol);
        }
        let accept = derive_accept_key(key.as_bytes());
        let accept = HeaderValue::try_from(accept).expect("base64 is a header value");
        Ok(Self { accept, upgrade: hyper::upgrade::on(&mut request) })
    }

    /// The answer that opens the websocket, and the websocket, which opens when the answer was sent.
    pub fn answer(self) -> (Response<Body>, impl Future<Output = Result<Socket, hyper::Error>>) {
        let Self { accept, upgrade } = self;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
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

/// Whether a header that is a list has this word.
fn lists(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|item| item.trim().eq_ignore_ascii_case(word))
}
