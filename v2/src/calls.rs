//! Calls over one connection: the side that answers them.
//!
//! A caller opens a stream for each call. [`Calls`] reads what comes, acknowledges and answers what can be answered without
//! knowing any method, and tells the rest in [`Event`]s. It holds no more than [`MAX_HELD`] bytes of all callers of the
//! connection: a message counts from its first byte until [`Calls::release`].

use crate::{
    drpc::{self, Kind, Packet, Reader, Writer},
    yamux::{self, GoAway, Session, Side, StreamId, Violation},
};

/// The most calls at once. A client has three or four.
pub const MAX_CALLS: usize = 16;

/// The most bytes of a message. The largest that is needed brings a node of 64 KiB.
pub const MAX_MESSAGE: usize = 128 * 1024;

/// What a message counts beside its bytes, so that empty messages are not free. It is little, because a hub that comes back asks for
/// thousands of tunnels at once, each in a message of two dozen bytes: who keeps messages must pack them.
const COST: usize = 8;

/// The most bytes that are held, over all calls: one of the largest messages.
pub const MAX_HELD: usize = MAX_MESSAGE + COST;

/// What a caller did.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// It calls the method with this path.
    Invoked(StreamId, String),
    /// It sent a message. It is to be released.
    Message(StreamId, Vec<u8>),
    /// It sends no more messages.
    Sent(StreamId),
    /// It wants no answer any more. The call is gone.
    Ended(StreamId),
    /// It pinged, or answered a ping.
    Ping,
}

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The caller breaks yamux.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// The caller sends faster than it may.
    #[error("more than {MAX_HELD} bytes wait to be read")]
    Held,
}

#[derive(Debug)]
struct Call {
    stream: StreamId,
    reader: Reader,
    writer: Writer,
    progress: Progress,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// The path of the method has not come.
    New,
    /// Messages may come.
    Invoked,
    /// The caller sends no more messages.
    Sent,
    /// It was answered to the end. What still comes is thrown away.
    Answered,
}

/// The calls of one connection.
#[derive(Debug)]
pub struct Calls {
    session: Session,
    calls: Vec<Call>,
    held: usize,
}

impl Default for Calls {
    fn default() -> Self {
        Self { session: Session::new(Side::Server, MAX_CALLS), calls: Vec::new(), held: 0 }
    }
}

impl Calls {
    /// Reads bytes, and appends what the caller did to `events`.
    ///
    /// # Errors
    /// When the connection must end. The other side is told with the next output.
    pub fn receive(&mut self, mut input: &[u8], events: &mut Vec<Event>) -> Result<(), Broken> {
        let result = self.read(&mut input, events);
        if result.is_err() {
            self.session.go_away(GoAway::Violation);
        }
        result
    }

    fn read(&mut self, input: &mut &[u8], events: &mut Vec<Event>) -> Result<(), Broken> {
        while let Some(event) = self.session.receive(input)? {
            match event {
                yamux::Event::Opened(stream) => {
                    let (reader, writer) = (Reader::new(MAX_MESSAGE), Writer::default());
                    self.calls.push(Call { stream, reader, writer, progress: Progress::New });
                }
                yamux::Event::Data(stream, bytes) => self.data(stream, bytes, events)?,
                yamux::Event::Finished(stream) => {
                    self.end(stream, events);
                    self.session.finish(stream);
                }
                yamux::Event::Reset(stream) => self.end(stream, events),
                yamux::Event::Ping => events.push(Event::Ping),
                yamux::Event::GoAway(_) => {}
            }
        }
        Ok(())
    }

    /// Bytes of one call.
    fn data(&mut self, stream: StreamId, mut bytes: &[u8], events: &mut Vec<Event>) -> Result<(), Broken> {
        let Some(at) = self.place(stream) else {
            self.session.release(stream, bytes.len());
            return Ok(());
        };
        loop {
            let call = &mut self.calls[at];
            let (before, length) = (call.reader.held(), bytes.len());
            let read = call.reader.receive(&mut bytes);
            let taken = length - bytes.len();
            // The bytes of headers are held no longer; those of data are until their packet is released.
            let kept = match &read {
                Ok(Some(packet)) => packet.data.len() - before,
                _ => call.reader.held() - before,
            };
            self.held += kept;
            self.session.release(stream, taken - kept);
            match read {
                Ok(Some(packet)) => self.packet(at, packet, events),
                Ok(None) => break,
                Err(malformed) => self.abort(stream, &malformed.to_string(), events),
            }
            if self.held > MAX_HELD {
                return Err(Broken::Held);
            }
            if self.place(stream) != Some(at) {
                self.session.release(stream, bytes.len());
                return Ok(());
            }
        }
        if self.held > MAX_HELD { Err(Broken::Held) } else { Ok(()) }
    }

    /// A whole packet of a call.
    fn packet(&mut self, at: usize, packet: Packet, events: &mut Vec<Event>) {
        let Call { stream, progress, .. } = self.calls[at];
        let Packet { kind, data } = packet;
        let length = data.len();
        match (kind, progress) {
            (Kind::Message, Progress::Invoked) => {
                self.held += COST;
                events.push(Event::Message(stream, data));
                return;
            }
            (Kind::Invoke, Progress::New) => {
                self.calls[at].progress = Progress::Invoked;
                events.push(Event::Invoked(stream, String::from_utf8_lossy(&data).into_owned()));
            }
            (Kind::CloseSend, Progress::Invoked) => {
                self.calls[at].progress = Progress::Sent;
                events.push(Event::Sent(stream));
            }
            // The stream is finished when the caller finishes it: the Go library takes an earlier end for a cancelled call.
            (Kind::Close | Kind::Cancel | Kind::Error, _) => self.end(stream, events),
            (Kind::InvokeMetadata, Progress::New) | (_, Progress::Answered) => {}
            _ => self.abort(stream, &format!("{kind:?} is out of order"), events),
        }
        self.held -= length;
        self.session.release(stream, length);
    }

    /// Sends a message. Without effect when the call is gone.
    pub fn send(&mut self, call: StreamId, message: &[u8]) {
        self.write(call, |writer| writer.packet(Kind::Message, message));
    }

    /// Ends a call that has one answer: the answer, and nothing more.
    pub fn answer(&mut self, call: StreamId, message: &[u8]) {
        self.send(call, message);
        self.finish(call, Kind::CloseSend);
    }

    /// Ends a call with many answers.
    pub fn close(&mut self, call: StreamId) {
        self.finish(call, Kind::Close);
    }

    /// Ends a call with an error.
    pub fn fail(&mut self, call: StreamId, code: u64, text: &str) {
        self.write(call, |writer| writer.error(code, text));
        self.answered(call);
    }

    /// Ends a call to a method that does not exist.
    pub fn unknown(&mut self, call: StreamId, path: &str) {
        self.fail(call, drpc::UNIMPLEMENTED, &format!("unknown rpc: {path:?}"));
    }

    fn finish(&mut self, call: StreamId, kind: Kind) {
        self.write(call, |writer| writer.packet(kind, &[]));
        self.answered(call);
    }

    /// A message of this length was read, and is held no longer.
    pub fn release(&mut self, call: StreamId, length: usize) {
        self.held -= length + COST;
        self.session.release(call, length);
    }

    /// Whether something of the call waits for the caller to read.
    pub fn waits(&self, call: StreamId) -> bool {
        self.session.waits(call)
    }

    /// Asks whether the other side lives.
    pub fn ping(&mut self) {
        self.session.ping();
    }

    /// Says that no more calls are taken.
    pub fn go_away(&mut self) {
        self.session.go_away(GoAway::Normal);
    }

    /// The bytes that are to be sent.
    pub fn take_output(&mut self) -> Vec<u8> {
        self.session.take_output()
    }

    /// How many bytes are to be sent.
    pub fn output(&self) -> usize {
        self.session.output()
    }

    /// The caller breaks dRPC. Its other calls go on.
    fn abort(&mut self, stream: StreamId, problem: &str, events: &mut Vec<Event>) {
        self.write(stream, |writer| writer.error(0, &format!("protocol error: {problem}")));
        self.end(stream, events);
        self.session.finish(stream);
    }

    /// The caller ended the call, or its stream.
    fn end(&mut self, stream: StreamId, events: &mut Vec<Event>) {
        let Some(at) = self.place(stream) else { return };
        self.drop_held(at);
        let call = self.calls.swap_remove(at);
        if call.progress != Progress::Answered {
            events.push(Event::Ended(stream));
        }
    }

    /// What has come of a packet of a call will not be read.
    fn drop_held(&mut self, at: usize) {
        let Call { stream, reader, .. } = &mut self.calls[at];
        let (stream, held) = (*stream, reader.held());
        *reader = Reader::new(MAX_MESSAGE);
        self.held -= held;
        self.session.release(stream, held);
    }

    fn answered(&mut self, call: StreamId) {
        if let Some(at) = self.place(call) {
            self.calls[at].progress = Progress::Answered;
        }
    }

    fn write(&mut self, call: StreamId, packet: impl FnOnce(&mut Writer) -> Vec<u8>) {
        if let Some(at) = self.place(call).filter(|at| self.calls[*at].progress != Progress::Answered) {
            let bytes = packet(&mut self.calls[at].writer);
            self.session.send(call, &bytes);
        }
    }

    fn place(&self, stream: StreamId) -> Option<usize> {
        self.calls.iter().position(|call| call.stream == stream)
    }
}
