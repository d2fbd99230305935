//! The websocket that a peer holds to a coordinator.

use std::{io, sync::Arc};

use clap::ValueEnum;
use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use serde::{Deserialize, Serialize};
use tokio_tungstenite::{
    connect_async_with_config,
    tungstenite::{
        self, ClientRequestBuilder,
        http::{StatusCode, Uri},
        protocol::{WebSocketConfig, frame::coding::CloseCode},
    },
};

use crate::{
    conversation::{Conversation, Listening, Socket},
    message::{Message, Request},
};

/// Says which protocol is spoken; every peer offers it.
pub const SUBPROTOCOL: &str = "tailnet.v1.json";

/// The default is 128 KiB a websocket, which is much for thousands of peers in one process.
const READ_BUFFER: usize = 4 << 10;

/// What a peer speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// tailnet.v1.json: docs/protocol.md.
    #[default]
    V1,
    /// tailnet v2, as programs speak it that others built: docs/tailnet-v2.md.
    V2,
}

/// How a peer shows who it is.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// For the header `Authorization: Bearer`.
    pub bearer: Option<String>,
    /// What is offered as `Sec-WebSocket-Protocol`.
    pub subprotocols: Vec<String>,
    /// Sent as `traceparent`: the span that the connection belongs to.
    pub traceparent: Option<String>,
    /// Sent as `Tailnet-Resume`. Empty: the peer asks for a resume token.
    pub resume: Option<String>,
    /// What it speaks.
    pub protocol: Protocol,
}

impl Credentials {
    /// As programs do it: the token in the header.
    pub fn header(token: &str) -> Self {
        Self { bearer: Some(token.to_owned()), subprotocols: vec![SUBPROTOCOL.to_owned()], ..Self::default() }
    }

    /// As browsers do it, which cannot set a header: the token as a subprotocol.
    pub fn subprotocol(token: &str) -> Self {
        let subprotocols = vec![SUBPROTOCOL.to_owned(), format!("bearer.{token}")];
        Self { subprotocols, ..Self::default() }
    }

    /// The same, with this resume token; empty: it asks for one.
    #[must_use]
    pub fn resuming(self, resume: &str) -> Self {
        Self { resume: Some(resume.to_owned()), ..self }
    }

    /// The same, over this protocol. For v2 the token must be in the header.
    #[must_use]
    pub fn speaking(self, protocol: Protocol) -> Self {
        Self { protocol, ..self }
    }

    /// The same, and the connection belongs to this span.
    #[must_use]
    pub fn traced(self, traceparent: Option<String>) -> Self {
        Self { traceparent, ..self }
    }
}

/// Why there is no websocket.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL of the proxy is none.
    #[error("{0:?} is not a URL like ws://host:port")]
    Url(String),
    /// The proxy answered with something other than 101.
    #[error("the proxy refused the peer with {0}")]
    Refused(StatusCode),
    /// The proxy selected another protocol.
    #[error("the proxy selected the subprotocol {0:?}, expected {SUBPROTOCOL:?}")]
    Subprotocol(Option<String>),
    /// There is no connection, or it broke.
    #[error("the proxy cannot be reached")]
    Unreachable(#[source] io::Error),
    /// Anything else.
    #[error("cannot connect to the proxy")]
    Socket(#[source] Box<tungstenite::Error>),
}

/// Both directions of the websocket.
#[derive(Debug)]
pub struct Coordinator {
    sender: Sender,
    receiver: Receiver,
}

/// The direction to the proxy.
#[derive(Debug)]
pub struct Sender(ToProxy);

#[derive(Debug)]
enum ToProxy {
    Json(SplitSink<Socket, tungstenite::Message>),
    Protobuf(Arc<Conversation>),
}

/// The direction from the proxy.
#[derive(Debug)]
pub struct Receiver(FromProxy);

#[derive(Debug)]
enum FromProxy {
    Json(SplitStream<Socket>),
    Protobuf(Arc<Conversation>, Listening),
}

impl Coordinator {
    /// Connects to the proxy at `url` (`ws://host:port`).
    ///
    /// # Errors
    /// When the proxy does not answer with a websocket of the right protocol.
    pub async fn connect(url: &str, credentials: &Credentials) -> Result<Self, ConnectError> {
        let bad_url = || ConnectError::Url(url.to_owned());
        let path = match credentials.protocol {
            Protocol::V1 => "/v1/coordinate".to_owned(),
            Protocol::V2 => {
                let resume = credentials.resume.as_ref().map(|token| format!("&resume_token={token}"));
                format!("/api/v2/tailnet?version=2.0{}", resume.unwrap_or_default())
            }
        };
        let uri: Uri = format!("{}{path}", url.trim_end_matches('/')).parse().map_err(|_| bad_url())?;
        if uri.scheme_str() != Some("ws") || uri.host().is_none() {
            return Err(bad_url());
        }
        let mut request = ClientRequestBuilder::new(uri);
        if let Some(token) = &credentials.bearer {
            request = request.with_header("Authorization", format!("Bearer {token}"));
        }
        if let Some(traceparent) = &credentials.traceparent {
            request = request.with_header("traceparent", traceparent);
        }
        if let Some(resume) = credentials.resume.as_ref().filter(|_| credentials.protocol == Protocol::V1) {
            request = request.with_header("Tailnet-Resume", resume);
        }
        for protocol in credentials.subprotocols.iter().filter(|_| credentials.protocol == Protocol::V1) {
            request = request.with_sub_protocol(protocol);
        }
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER);
        let (socket, response) =
            connect_async_with_config(request, Some(config), false).await.map_err(|error| match error {
                tungstenite::Error::Http(response) => ConnectError::Refused(response.status()),
                tungstenite::Error::Io(error) => ConnectError::Unreachable(error),
                other => ConnectError::Socket(Box::new(other)),
            })?;
        if credentials.protocol == Protocol::V2 {
            let begun = Conversation::begin(socket).await.map_err(|error| ConnectError::Socket(Box::new(error)))?;
            let (conversation, listening) = (Arc::new(begun.0), begun.1);
            let sender = Sender(ToProxy::Protobuf(Arc::clone(&conversation)));
            return Ok(Self { sender, receiver: Receiver(FromProxy::Protobuf(conversation, listening)) });
        }
        let selected = response.headers().get("sec-websocket-protocol").and_then(|value| value.to_str().ok());
        if selected != Some(SUBPROTOCOL) {
            return Err(ConnectError::Subprotocol(selected.map(str::to_owned)));
        }
        let (sink, stream) = socket.split();
        Ok(Self { sender: Sender(ToProxy::Json(sink)), receiver: Receiver(FromProxy::Json(stream)) })
    }

    /// Sends one frame.
    ///
    /// # Errors
    /// When the websocket is gone.
    pub async fn send(&mut self, request: &Request) -> Result<(), tungstenite::Error> {
        self.sender.send(request).await
    }

    /// The next frame of the proxy; after [`Message::Closed`] there is none. Loses nothing when it is cancelled.
    pub async fn next(&mut self) -> Message {
        self.receiver.next().await
    }

    /// The two directions, for two tasks.
    pub fn split(self) -> (Sender, Receiver) {
        (self.sender, self.receiver)
    }
}

impl Sender {
    /// Sends one frame.
    ///
    /// # Errors
    /// When the websocket is gone.
    pub async fn send(&mut self, request: &Request) -> Result<(), tungstenite::Error> {
        match &mut self.0 {
            ToProxy::Json(sink) => {
                let text = serde_json::to_string(request).expect("a request has string keys only");
                sink.send(tungstenite::Message::text(text)).await
            }
            ToProxy::Protobuf(conversation) => conversation.send(request).await,
        }
    }

    /// Sends any websocket message, also one that no peer should send.
    ///
    /// # Errors
    /// When the websocket is gone.
    pub async fn send_raw(&mut self, message: tungstenite::Message) -> Result<(), tungstenite::Error> {
        match &mut self.0 {
            ToProxy::Json(sink) => sink.send(message).await,
            ToProxy::Protobuf(conversation) => conversation.send_raw(message).await,
        }
    }
}

impl Receiver {
    /// See [`Coordinator::next`].
    pub async fn next(&mut self) -> Message {
        let stream = match &mut self.0 {
            FromProxy::Json(stream) => stream,
            FromProxy::Protobuf(conversation, listening) => return conversation.next(listening).await,
        };
        loop {
            let closed = |code, reason: String| Message::Closed { code, reason };
            match stream.next().await {
                None => return closed(None, "the connection ended without a close frame".to_owned()),
                Some(Err(error)) => return closed(None, error.to_string()),
                Some(Ok(tungstenite::Message::Close(frame))) => {
                    return match frame {
                        Some(frame) => closed(Some(u16::from(frame.code)), frame.reason.to_string()),
                        None => closed(Some(u16::from(CloseCode::Status)), String::new()),
                    };
                }
                Some(Ok(tungstenite::Message::Text(text))) => {
                    return Message::parse(&text).unwrap_or_else(|error| {
                        closed(None, format!("the proxy sent what is no documented frame ({error}): {text}"))
                    });
                }
                Some(Ok(tungstenite::Message::Binary(_))) => {
                    return closed(None, "the proxy sent a binary frame".to_owned());
                }
                // Tungstenite answers pings by itself.
                Some(Ok(_)) => {}
            }
        }
    }
}
