//! Calls over one connection: the side that makes them. What the tools for load and the tests use.

use crate::{
    drpc::{self, Kind, Reader, Writer},
    yamux::{self, Session, Side, StreamId, Violation},
};

/// The most bytes of an answer, as the Go library takes it.
const MAX_MESSAGE: usize = 4 * 1024 * 1024;

/// What the answering side did.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// It sent a message.
    Message(StreamId, Vec<u8>),
    /// It ended the call.
    Closed(StreamId),
    /// It ended the call with an error.
    Failed(StreamId, Failure),
    /// It pinged, or answered a ping.
    Ping,
    /// It takes no more calls.
    GoAway,
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text} (code {code})")]
pub struct Failure {
    /// The code; 0: none.
    pub code: u64,
    /// The text.
    pub text: String,
}

/// What breaks a connection.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The other side breaks yamux.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// The other side breaks dRPC.
    #[error(transparent)]
    Malformed(#[from] drpc::Malformed),
}

#[derive(Debug)]
struct Call {
    stream: StreamId,
    reader: Reader,
    writer: Writer,
    /// It was said that no more messages come.
    sent: bool,
}

/// The calls of one connection.
#[derive(Debug)]
pub struct Caller {
    session: Session,
    calls: Vec<Call>,
}

impl Default for Caller {
    fn default() -> Self {
        Self { session: Session::new(Side::Client, 0), calls: Vec::new() }
    }
}

impl Caller {
    /// Begins a call.
    pub fn call(&mut self, path: &str) -> StreamId {
        let stream = self.session.open();
        let mut writer = Writer::default();
        self.session.send(stream, &writer.packet(Kind::Invoke, path.as_bytes()));
        self.calls.push(Call { stream, reader: Reader::new(MAX_MESSAGE), writer, sent: false });
        stream
    }

    /// Begins a call with one message.
    pub fn ask(&mut self, path: &str, message: &[u8]) -> StreamId {
        let call = self.call(path);
        self.send(call, message);
        self.packet(call, Kind::CloseSend);
        if let Some(call) = self.calls.last_mut() {
            call.sent = true;
        }
        call
    }

    /// Sends a message. Without effect when the call is gone.
    pub fn send(&mut self, call: StreamId, message: &[u8]) {
        let Some(at) = self.place(call) else { return };
        let bytes = self.calls[at].writer.packet(Kind::Message, message);
        self.session.send(call, &bytes);
    }

    /// Wants no more answers.
    pub fn cancel(&mut self, call: StreamId) {
        self.packet(call, Kind::Cancel);
        self.forget(call);
    }

    /// Reads bytes, and appends what the answering side did to `events`.
    ///
    /// # Errors
    /// When the other side breaks a rule.
    pub fn receive(&mut self, mut input: &[u8], events: &mut Vec<Event>) -> Result<(), Broken> {
        while let Some(event) = self.session.receive(&mut input)? {
            match event {
                yamux::Event::Data(stream, bytes) => self.data(stream, bytes, events)?,
                yamux::Event::Finished(stream) | yamux::Event::Reset(stream) => {
                    if self.place(stream).is_some() {
                        events.push(Event::Closed(stream));
                        self.forget(stream);
                    }
                }
                yamux::Event::Ping => events.push(Event::Ping),
                yamux::Event::GoAway(_) => events.push(Event::GoAway),
                // No stream may be opened on this side: it was reset.
                yamux::Event::Opened(_) => {}
            }
        }
        Ok(())
    }

    fn data(&mut self, stream: StreamId, mut bytes: &[u8], events: &mut Vec<Event>) -> Result<(), Broken> {
        self.session.release(stream, bytes.len());
        while let Some(at) = self.place(stream) {
            let Some(packet) = self.calls[at].reader.receive(&mut bytes)? else { break };
            match packet.kind {
                Kind::Message => events.push(Event::Message(stream, packet.data)),
                // One answer came, and this call is over.
                Kind::CloseSend if self.calls[at].sent => {
                    self.packet(stream, Kind::Close);
                    self.forget(stream);
                    events.push(Event::Closed(stream));
                }
                Kind::Close | Kind::Cancel => {
                    self.forget(stream);
                    events.push(Event::Closed(stream));
                }
                Kind::Error => {
                    self.forget(stream);
                    events.push(Event::Failed(stream, failure(&packet.data)));
                }
                Kind::CloseSend | Kind::Invoke | Kind::InvokeMetadata => {}
            }
        }
        Ok(())
    }

    /// Asks whether the other side lives.
    pub fn ping(&mut self) {
        self.session.ping();
    }

    /// The bytes that are to be sent.
    pub fn take_output(&mut self) -> Vec<u8> {
        self.session.take_output()
    }

    fn packet(&mut self, call: StreamId, kind: Kind) {
        let Some(at) = self.place(call) else { return };
        let bytes = self.calls[at].writer.packet(kind, &[]);
        self.session.send(call, &bytes);
    }

    fn forget(&mut self, call: StreamId) {
        self.calls.retain(|entry| entry.stream != call);
        self.session.finish(call);
    }

    fn place(&self, stream: StreamId) -> Option<usize> {
        self.calls.iter().position(|call| call.stream == stream)
    }
}

fn failure(data: &[u8]) -> Failure {
    let (code, text) = data.split_first_chunk().unwrap_or((&[0; 8], data));
    Failure { code: u64::from_be_bytes(*code), text: String::from_utf8_lossy(text).into_owned() }
}
