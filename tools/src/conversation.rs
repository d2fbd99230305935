//! A connection that speaks tailnet v2, for two tasks: one that sends, and one that receives and answers.

use std::{
    collections::VecDeque,
    io,
    sync::{Mutex, MutexGuard},
};

use futures_util::{
    SinkExt as _, StreamExt as _,
    future::poll_fn,
    stream::{SplitSink, SplitStream},
};
use tailnet_v2::{
    caller::{Caller, Event},
    messages::path,
    yamux::StreamId,
};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{self, protocol::CloseFrame},
};

use crate::{
    message::{Message, Request},
    protobuf,
};

/// The websocket of either protocol.
pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What both tasks share.
#[derive(Debug)]
pub struct Conversation {
    caller: Mutex<Caller>,
    /// The call Coordinate.
    call: StreamId,
    sink: tokio::sync::Mutex<SplitSink<Socket, tungstenite::Message>>,
}

/// What the receiving task knows.
#[derive(Debug)]
pub struct Listening {
    stream: SplitStream<Socket>,
    heard: VecDeque<Message>,
    /// Why the call is about to end; None: because of a goodbye.
    ending: Option<(u16, String)>,
}

/// How the error begins after which a call goes on.
const NOT_FATAL: &str = "ready for handshake error: ";

/// The close code of `tailnet.v1.json` for an error with which a call ends, so that those who drive peers need not know which
/// protocol they speak. None: a refusal.
fn code(error: &str) -> Option<u16> {
    const ENDINGS: [(&str, u16); 7] = [
        ("superseded", 4001),
        ("revoked", 4003),
        ("expired", 4003),
        ("shuts down", 1012),
        ("is not proved", 1012),
        ("ended by the database", 1012),
        ("try another proxy", 1013),
    ];
    ENDINGS.into_iter().find(|(words, _)| error.contains(words)).map(|(_, code)| code)
}

/// A proxy that ends a session before it reads the call says why in the close frame alone.
fn closed_by(frame: Option<CloseFrame>) -> Message {
    let Some(CloseFrame { code: sent, reason }) = frame else {
        return Message::Closed { code: None, reason: String::new() };
    };
    let code = code(&reason).unwrap_or_else(|| sent.into());
    Message::Closed { code: Some(code), reason: reason.to_string() }
}

impl Conversation {
    /// Begins to coordinate.
    ///
    /// # Errors
    /// When the websocket is gone.
    pub async fn begin(socket: Socket) -> Result<(Self, Listening), tungstenite::Error> {
        let (sink, stream) = socket.split();
        let mut caller = Caller::default();
        let call = caller.call(path::COORDINATE);
        let conversation = Self { caller: Mutex::new(caller), call, sink: tokio::sync::Mutex::new(sink) };
        conversation.write().await?;
        Ok((conversation, Listening { stream, heard: VecDeque::new(), ending: None }))
    }

    /// Sends a request.
    ///
    /// # Errors
    /// When the websocket is gone, or v2 cannot say it.
    pub async fn send(&self, request: &Request) -> Result<(), tungstenite::Error> {
        let bytes = protobuf::encode(request).map_err(io::Error::other)?;
        self.caller().send(self.call, &bytes);
        self.write().await
    }

    /// Sends any websocket message, also one that no peer should send.
    ///
    /// # Errors
    /// When the websocket is gone.
    pub async fn send_raw(&self, message: tungstenite::Message) -> Result<(), tungstenite::Error> {
        self.sink.lock().await.send(message).await
    }

    /// What the proxy says next. Loses nothing when it is cancelled.
    pub async fn next(&self, listening: &mut Listening) -> Message {
        let broken = |reason: String| Message::Closed { code: None, reason };
        loop {
            // Also what was left when this was cancelled.
            if let Err(error) = self.write().await {
                return broken(error.to_string());
            }
            if let Some(message) = listening.heard.pop_front() {
                return message;
            }
            match listening.stream.next().await {
                None => return broken("the connection ended without a close frame".to_owned()),
                Some(Err(error)) => return broken(error.to_string()),
                Some(Ok(tungstenite::Message::Close(frame))) => {
                    return closed_by(frame);
                }
                Some(Ok(tungstenite::Message::Binary(bytes))) => {
                    if let Err(problem) = self.hear(&bytes, listening) {
                        return broken(problem);
                    }
                }
                Some(Ok(tungstenite::Message::Text(text))) => return broken(format!("the proxy sent a text: {text}")),
                Some(Ok(_)) => {}
            }
        }
    }

    fn hear(&self, bytes: &[u8], listening: &mut Listening) -> Result<(), String> {
        let mut events = Vec::new();
        self.caller().receive(bytes, &mut events).map_err(|error| error.to_string())?;
        for event in events {
            match event {
                Event::Message(call, bytes) if call == self.call => {
                    let message = protobuf::decode(&bytes).map_err(|error| error.to_string())?;
                    match &message {
                        Message::Error(error) => match code(error) {
                            Some(code) => listening.ending = Some((code, error.clone())),
                            None => {
                                if !error.starts_with(NOT_FATAL) {
                                    listening.ending = Some((1008, "refused".to_owned()));
                                }
                                listening.heard.push_back(message);
                            }
                        },
                        _ => listening.heard.push_back(message),
                    }
                }
                Event::Closed(call) if call == self.call => {
                    let (code, reason) = listening.ending.take().unwrap_or((1000, "disconnected".to_owned()));
                    listening.heard.push_back(Message::Closed { code: Some(code), reason });
                }
                Event::Failed(call, failure) if call == self.call => return Err(failure.to_string()),
                _ => {}
            }
        }
        Ok(())
    }

    /// Writes what waits. Loses nothing when it is cancelled: bytes are taken when the socket has room.
    async fn write(&self) -> Result<(), tungstenite::Error> {
        let mut sink = self.sink.lock().await;
        poll_fn(|cx| sink.poll_ready_unpin(cx)).await?;
        let bytes = self.caller().take_output();
        if !bytes.is_empty() {
            sink.start_send_unpin(tungstenite::Message::binary(bytes))?;
        }
        sink.flush().await
    }

    fn caller(&self) -> MutexGuard<'_, Caller> {
        self.caller.lock().expect("no code panics with this lock held")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_frame_alone_says_why_a_session_ended() {
        for (sent, reason, code) in [
            (1000, "proxy shuts down", 1012),
            (1000, "superseded", 4001),
            (1011, "Postgres is away, try another proxy", 1013),
            (1000, "disconnected", 1000),
            (1003, "expected binary frames", 1003),
        ] {
            let frame = CloseFrame { code: sent.into(), reason: reason.into() };
            assert_eq!(closed_by(Some(frame)), Message::Closed { code: Some(code), reason: reason.to_owned() });
        }
        assert_eq!(closed_by(None), Message::Closed { code: None, reason: String::new() });
    }
}
