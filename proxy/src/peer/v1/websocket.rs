//! The websocket of a peer that speaks `tailnet.v1.json`.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};
use uuid::Uuid;

use crate::{
    message::{Delivery, Ending, Refused},
    peer::{
        codec::{Codec, HearError, Heard, WriteError},
        socket::{self, Socket},
        v1::{close, from_peer, map_frames::MapFrames, to_peer},
    },
};

/// One websocket.
#[derive(Debug)]
pub struct JsonCodec {
    socket: Socket,
    /// Whose websocket it is.
    peer: Uuid,
    maps: MapFrames,
}

impl JsonCodec {
    /// The codec of a websocket that has just opened.
    pub fn new(socket: Socket, peer: Uuid, maps: MapFrames) -> Self {
        Self { socket, peer, maps }
    }

    /// What a message of the peer says.
    fn read(&mut self, message: Option<Result<Message, SocketError>>) -> Result<Heard, HearError> {
        match message {
            Some(Ok(Message::Text(text))) => {
                let request = from_peer::parse(&text, self.peer).map_err(HearError::Malformed)?;
                if request.derp_map {
                    self.maps.ask();
                }
                Ok(Heard::Asks(request.asks))
            }
            Some(Ok(Message::Binary(_))) => Err(HearError::Malformed(from_peer::binary())),
            Some(Ok(Message::Pong(_))) => Ok(Heard::Life),
            Some(Ok(Message::Ping(_) | Message::Frame(_))) => Ok(Heard::Nothing),
            Some(Err(SocketError::Capacity(_))) => Err(HearError::Malformed(from_peer::too_large())),
            Some(Err(SocketError::Utf8(_))) => Err(HearError::Malformed(from_peer::not_utf8())),
            Some(Ok(Message::Close(_)) | Err(_)) | None => Err(HearError::Gone),
        }
    }

    async fn write(&mut self, message: Message, patience: Duration) -> Result<(), WriteError> {
        match timeout(patience, self.socket.send(message)).await {
            Ok(sent) => sent.map_err(|_| WriteError::Gone),
            Err(_) => Err(WriteError::Silent),
        }
    }
}

impl Codec for JsonCodec {
    const PROTOCOL: &'static str = "v1";

    /// The asks come over the only stream, so nothing is read while none is wanted.
    async fn hear(&mut self, asks: bool) -> Result<Heard, HearError> {
        loop {
            if !self.maps.tell(&mut self.socket).await {
                return Err(HearError::Gone);
            }
            tokio::select! {
                message = self.socket.next(), if asks => return self.read(message),
                () = self.maps.changed() => {}
            }
        }
    }

    /// A peer that reads nothing fills the socket, and then the write waits.
    fn takes_updates(&self) -> bool {
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

    async fn ping(&mut self, patience: Duration) -> Result<bool, WriteError> {
        self.write(Message::Ping(Default::default()), patience).await.map(|()| true)
    }

    async fn end(mut self, ending: Ending, patience: Duration) {
        if let Ending::Malformed(malformed) = &ending {
            let error = Message::text(to_peer::error(&malformed.problem));
            if self.write(error, patience).await.is_err() {
                return;
            }
        }
        socket::close(self.socket, close::code(&ending), close::reason(&ending), patience).await;
    }

    fn code(ending: &Ending) -> u16 {
        close::code(ending)
    }

    fn words(refused: &Refused) -> String {
        to_peer::words(refused)
    }
}
