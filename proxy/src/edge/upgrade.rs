//! The websocket handshake of RFC 6455, section 4.2.
//!
//! axum's own extractor is not used, because it hides the stream below the websocket: the proxy must read and throw away
//! what a peer sent too much before it closes the socket, or TCP resets the connection and the peer never sees why. The
//! check of tungstenite is not used, because it reads only the first header line of a name, and an intermediary may send
//! `Connection` and `Upgrade` as lists in several lines.

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header},
};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        handshake::derive_accept_key,
        protocol::{Role, WebSocketConfig},
    },
};

use crate::{edge::token, peer::socket::Socket};

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
    #[error("expected the subprotocol {0} in Sec-WebSocket-Protocol")]
    Subprotocol(&'static str),
}

/// How a websocket is opened.
#[derive(Debug, Clone, Copy)]
pub struct SocketOptions {
    /// The subprotocol that is spoken.
    pub subprotocol: Option<&'static str>,
    /// The largest message of the peer, in bytes.
    pub max_message: usize,
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
    pub fn new(mut request: Request, subprotocol: Option<&'static str>) -> Result<Self, UpgradeError> {
        let headers = request.headers();
        let key = headers.get(header::SEC_WEBSOCKET_KEY);
        let asked = request.method() == Method::GET
            && lists(headers, &header::CONNECTION, "upgrade")
            && lists(headers, &header::UPGRADE, "websocket");
        let (true, Some(key)) = (asked, key) else { return Err(UpgradeError::NoUpgrade) };
        if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            return Err(UpgradeError::Version);
        }
        if let Some(expected) = subprotocol.filter(|expected| !token::subprotocols(headers).any(|p| p == *expected)) {
            return Err(UpgradeError::Subprotocol(expected));
        }
        let accept = derive_accept_key(key.as_bytes());
        let accept = HeaderValue::try_from(accept).expect("base64 is a header value");
        Ok(Self { accept, upgrade: hyper::upgrade::on(&mut request) })
    }

    /// The answer that opens the websocket, and the websocket, which opens when the answer was sent.
    pub fn answer(
        self,
        options: SocketOptions,
    ) -> (Response<Body>, impl Future<Output = Result<Socket, hyper::Error>>) {
        let SocketOptions { subprotocol, max_message } = options;
        let Self { accept, upgrade } = self;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        if let Some(subprotocol) = subprotocol {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol));
        }
        let socket = async move {
            let io = TokioIo::new(upgrade.await?);
            let config = WebSocketConfig::default()
                .read_buffer_size(READ_BUFFER)
                .write_buffer_size(0) // each frame is flushed anyway
                .max_message_size(Some(max_message))
                .max_frame_size(Some(max_message));
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
