//! The websocket of a peer that speaks `tailnet.v1.json`.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error as SocketError, Message,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};
use uuid::Uuid;

use crate::{
    message::{Delivery, Ending, Refused},
    peer::{
        codec::{Codec, HearError, Heard, WriteError},
        v1::{close, from_peer, to_peer},
    },
};

/// An open websocket.
pub type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// How long the peer may take to answer a close.
const LINGER: Duration = Duration::from_secs(2);

/// One websocket.
#[derive(Debug)]
pub struct JsonCodec {
    socket: Socket,
    /// Whose websocket it is.
    peer: Uuid,
}

impl JsonCodec {
    /// The codec of a websocket that has just opened.
    pub fn new(socket: Socket, peer: Uuid) -> Self {
        Self { socket, peer }
    }

    async fn write(&mut self, message: Message, patience: Duration) -> Result<(), WriteError> {
        match timeout(patience, self.socket.send(message)).await {
            Ok(sent) => sent.map_err(|_| WriteError::Gone),
            Err(_) => Err(WriteError::Silent),
        }
    }
}

impl Codec for JsonCodec {
    /// The asks come over the only stream, so nothing is read while none is wanted.
    async fn hear(&mut self, asks: bool) -> Result<Heard, HearError> {
        if !asks {
            return std::future::pending().await;
        }
        match self.socket.next().await {
            Some(Ok(Message::Text(text))) => {
                from_peer::parse(&text, self.peer).map(Heard::Asks).map_err(HearError::Malformed)
            }
            Some(Ok(Message::Binary(_))) => Err(HearError::Malformed(from_peer::binary())),
            Some(Ok(Message::Pong(_))) => Ok(Heard::Pong),
            Some(Ok(Message::Ping(_) | Message::Frame(_))) => Ok(Heard::Nothing),
            Some(Err(SocketError::Capacity(_))) => Err(HearError::Malformed(from_peer::too_large())),
            Some(Err(SocketError::Utf8(_))) => Err(HearError::Malformed(from_peer::not_utf8())),
            Some(Ok(Message::Close(_)) | Err(_)) | None => Err(HearError::Gone),
        }
    }

    /// A peer that reads nothing fills the socket, and then the write waits.
    fn can_deliver(&self) -> bool {
        true
    }

    async fn deliver(&mut self, delivery: &Delivery, patience: Duration) -> Result<(), WriteError> {
        if !delivery.updates.is_empty() {
            self.write(Message::text(to_peer::updates(&delivery.updates)), patience).await?;
        }
        if !delivery.acknowledged.is_empty() {
            self.write(Message::text(to_peer::acknowledged(&delivery.acknowledged)), patience).await?;
        }
        for refused in &delivery.refused {
            self.write(Message::text(to_peer::error(&to_peer::words(refused))), patience).await?;
        }
        Ok(())
    }

    async fn offer_resume(&mut self, token: &str, patience: Duration) -> Result<(), WriteError> {
        self.write(Message::text(to_peer::resume(self.peer, token)), patience).await
    }

    async fn ping(&mut self, patience: Duration) -> Result<(), WriteError> {
        self.write(Message::Ping(Default::default()), patience).await
    }

    async fn end(mut self, ending: Ending, patience: Duration) {
        if let Ending::Malformed(malformed) = &ending {
            let error = Message::text(to_peer::error(&malformed.problem));
            if self.write(error, patience).await.is_err() {
                return;
            }
        }
        let code = CloseCode::from(close::code(&ending));
        let close = CloseFrame { code, reason: close::reason(&ending).into() };
        if !matches!(timeout(patience, self.socket.close(Some(close))).await, Ok(Ok(()))) {
            return;
        }
        // TCP resets a connection that is closed with unread data, and then the peer loses what it has not read yet.
        let stream = self.socket.get_mut();
        let drain = async {
            stream.shutdown().await?;
            let mut rest = vec![0; 4096]; // on the heap: in the task it would be there for the whole session
            while stream.read(&mut rest).await? > 0 {}
            Ok::<(), std::io::Error>(())
        };
        // A peer that does not close in time is cut off.
        let _ = timeout(LINGER, drain).await;
    }

    fn code(ending: &Ending) -> u16 {
        close::code(ending)
    }

    fn words(refused: &Refused) -> String {
        to_peer::words(refused)
    }
}
