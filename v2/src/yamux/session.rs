//! All streams of one connection.

use crate::yamux::{
    header::{ACK, FIN, GoAway, HEADER, Header, Kind, RST, SYN, StreamId, Violation},
    stream::Stream,
};

/// The most bytes of answers that wait to be sent. A peer that reads makes a few dozen.
const MAX_ANSWERS: usize = 256 * 1024;

/// Which side of the connection this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// It opens streams with odd numbers.
    Client,
    /// It accepts them.
    Server,
}

/// What the other side did.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// It opened a stream, which is acknowledged.
    Opened(StreamId),
    /// It sent these bytes. They are to be released.
    Data(StreamId, &'a [u8]),
    /// It sends no more on this stream.
    Finished(StreamId),
    /// It reset this stream: it is gone.
    Reset(StreamId),
    /// It pinged, or answered a ping.
    Ping,
    /// It opens no more streams, for the reason with this code.
    GoAway(u32),
}

/// One connection.
#[derive(Debug)]
pub struct Session {
    side: Side,
    /// The most streams that the other side may have open. It may open none of its own on a client.
    most: usize,
    streams: Vec<Stream>,
    /// The next stream that this side opens.
    next: StreamId,
    pings: u32,
    /// A header that has not come whole.
    head: [u8; HEADER],
    have: usize,
    /// The frame with data whose bytes are coming, and how many of them are still to come.
    body: Option<(Header, u32)>,
    output: Vec<u8>,
    /// How much of the output is answers.
    answers: usize,
}

impl Session {
    /// A session on which the other side may have `most` streams open at once. More are reset.
    pub fn new(side: Side, most: usize) -> Self {
        Self {
            side,
            most,
            streams: Vec::new(),
            next: if side == Side::Client { 1 } else { 2 },
            pings: 0,
            head: [0; HEADER],
            have: 0,
            body: None,
            output: Vec::new(),
            answers: 0,
        }
    }

    /// Reads on, up to the next event, and takes what it has read off the front of `input`. None: all was read.
    ///
    /// # Errors
    /// When the other side breaks a rule. The session cannot go on; [`Session::go_away`] says so to the other side.
    pub fn receive<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, Violation> {
        loop {
            if let Some((header, left)) = self.body {
                if left > 0 {
                    let length = input.len().min(left as usize);
                    let bytes = take(input, length);
                    self.body = Some((header, left - length as u32));
                    if bytes.is_empty() {
                        return Ok(None);
                    }
                    if self.place(header.stream).is_some_and(|at| !self.streams[at].peer_finished) {
                        return Ok(Some(Event::Data(header.stream, bytes)));
                    }
                    continue;
                }
                self.body = None;
                if let Some(event) = self.end_of_frame(header) {
                    return Ok(Some(event));
                }
            }
            let bytes = take(input, input.len().min(HEADER - self.have));
            self.head[self.have..][..bytes.len()].copy_from_slice(bytes);
            self.have += bytes.len();
            if self.have < HEADER {
                return Ok(None);
            }
            self.have = 0;
            if let Some(event) = self.begin(Header::decode(self.head)?)? {
                return Ok(Some(event));
            }
        }
    }

    /// Opens a stream.
    pub fn open(&mut self) -> StreamId {
        let id = self.next;
        self.next += 2;
        self.streams.push(Stream::new(id));
        self.frame(Kind::WindowUpdate, SYN, id, 0);
        id
    }

    /// Sends bytes on a stream, as far as its window goes. The rest waits. Without effect when the stream is gone.
    pub fn send(&mut self, stream: StreamId, bytes: &[u8]) {
        let Some(at) = self.place(stream) else { return };
        let entry = &mut self.streams[at];
        if entry.finishing || entry.finished {
            return;
        }
        if entry.waiting.is_empty() {
            let now = bytes.len().min(entry.sends as usize);
            entry.sends -= now as u32;
            entry.waiting.extend_from_slice(&bytes[now..]);
            self.data(stream, &bytes[..now]);
        } else {
            entry.waiting.extend_from_slice(bytes);
        }
    }

    /// Sends no more on a stream once all that waits is sent. Without effect when the stream is gone.
    pub fn finish(&mut self, stream: StreamId) {
        let Some(at) = self.place(stream) else { return };
        if !self.streams[at].finished {
            self.streams[at].finishing = true;
            self.flush(at);
        }
    }

    /// Ends a stream at once in both directions.
    pub fn reset(&mut self, stream: StreamId) {
        if let Some(at) = self.place(stream) {
            self.streams.remove(at);
            self.frame(Kind::WindowUpdate, RST, stream, 0);
        }
    }

    /// The caller holds `bytes` bytes of the stream no longer.
    pub fn release(&mut self, stream: StreamId, bytes: usize) {
        let Some(at) = self.place(stream) else { return };
        self.streams[at].released += u32::try_from(bytes).expect("no more than a window was received");
        if let Some(grant) = self.streams[at].grant() {
            self.frame(Kind::WindowUpdate, 0, stream, grant);
        }
    }

    /// Whether bytes of the stream wait for a window.
    pub fn waits(&self, stream: StreamId) -> bool {
        self.place(stream).is_some_and(|at| !self.streams[at].waiting.is_empty())
    }

    /// Asks whether the other side lives.
    pub fn ping(&mut self) {
        let value = self.pings;
        self.pings = value.wrapping_add(1);
        self.frame(Kind::Ping, SYN, 0, value);
    }

    /// Says that this side takes no more streams.
    pub fn go_away(&mut self, why: GoAway) {
        self.frame(Kind::GoAway, 0, 0, why.code());
    }

    /// The bytes that are to be sent.
    pub fn take_output(&mut self) -> Vec<u8> {
        self.answers = 0;
        std::mem::take(&mut self.output)
    }

    /// How many bytes are to be sent.
    pub fn output(&self) -> usize {
        self.output.len()
    }

    fn begin(&mut self, header: Header) -> Result<Option<Event<'static>>, Violation> {
        match header.kind {
            Kind::Ping if header.has(SYN) => {
                self.answer(Header { flags: ACK, ..header })?;
                return Ok(Some(Event::Ping));
            }
            Kind::Ping => return Ok(Some(Event::Ping)),
            Kind::GoAway => return Ok(Some(Event::GoAway(header.length))),
            Kind::Data | Kind::WindowUpdate => {}
        }
        let opened = header.has(SYN) && self.accept(header)?;
        if header.kind == Kind::WindowUpdate {
            self.widen(header)?;
            if !opened {
                return Ok(self.end_of_frame(header));
            }
        } else if let Some(at) = self.place(header.stream) {
            let Stream { receives, .. } = &mut self.streams[at];
            let (stream, length, window) = (header.stream, header.length, *receives);
            *receives = window.checked_sub(length).ok_or(Violation::Window { stream, length, window })?;
        }
        self.body = Some((header, if header.kind == Kind::Data { header.length } else { 0 }));
        Ok(opened.then_some(Event::Opened(header.stream)))
    }

    /// Opens the stream of a header with SYN, or resets it when there are too many.
    fn accept(&mut self, header: Header) -> Result<bool, Violation> {
        let Header { stream, .. } = header;
        if self.place(stream).is_some() {
            return Err(Violation::OpenedTwice(stream));
        }
        if stream == 0 || (stream % 2 == 1) != (self.side == Side::Server) {
            return Err(Violation::WrongSide(stream));
        }
        let taken = self.streams.len() < self.most;
        if taken {
            self.streams.push(Stream::new(stream));
        }
        let flags = if taken { ACK } else { RST };
        self.answer(Header { kind: Kind::WindowUpdate, flags, stream, length: 0 })?;
        Ok(taken)
    }

    /// The other side takes more on a stream.
    fn widen(&mut self, header: Header) -> Result<(), Violation> {
        let Some(at) = self.place(header.stream) else { return Ok(()) };
        let entry = &mut self.streams[at];
        entry.sends = entry.sends.checked_add(header.length).ok_or(Violation::WindowOverflow(header.stream))?;
        self.flush(at);
        Ok(())
    }

    /// What the flags of a frame mean once its bytes were read.
    fn end_of_frame(&mut self, header: Header) -> Option<Event<'static>> {
        let at = self.place(header.stream)?;
        if header.has(RST) {
            self.streams.remove(at);
            return Some(Event::Reset(header.stream));
        }
        if header.has(FIN) && !self.streams[at].peer_finished {
            self.streams[at].peer_finished = true;
            self.forget(at);
            return Some(Event::Finished(header.stream));
        }
        None
    }

    /// Sends what waits on a stream, as far as its window goes.
    fn flush(&mut self, at: usize) {
        let entry = &mut self.streams[at];
        let id = entry.id;
        let now = entry.waiting.len().min(entry.sends as usize);
        if now > 0 {
            let rest = entry.waiting.split_off(now);
            let bytes = std::mem::replace(&mut entry.waiting, rest);
            entry.sends -= now as u32;
            self.data(id, &bytes);
        }
        let entry = &mut self.streams[at];
        if entry.finishing && entry.waiting.is_empty() {
            (entry.finishing, entry.finished) = (false, true);
            self.frame(Kind::WindowUpdate, FIN, id, 0);
            self.forget(at);
        }
    }

    fn forget(&mut self, at: usize) {
        if self.streams[at].finished && self.streams[at].peer_finished {
            self.streams.remove(at);
        }
    }

    fn data(&mut self, stream: StreamId, bytes: &[u8]) {
        if !bytes.is_empty() {
            let length = u32::try_from(bytes.len()).expect("a window has 32 bits");
            self.frame(Kind::Data, 0, stream, length);
            self.output.extend_from_slice(bytes);
        }
    }

    fn frame(&mut self, kind: Kind, flags: u16, stream: StreamId, length: u32) {
        self.output.extend_from_slice(&Header { kind, flags, stream, length }.encode());
    }

    /// A frame that the other side has made necessary.
    fn answer(&mut self, header: Header) -> Result<(), Violation> {
        self.answers += HEADER;
        if self.answers > MAX_ANSWERS {
            return Err(Violation::Flood(MAX_ANSWERS));
        }
        self.output.extend_from_slice(&header.encode());
        Ok(())
    }

    fn place(&self, stream: StreamId) -> Option<usize> {
        self.streams.iter().position(|entry| entry.id == stream)
    }
}

fn take<'a>(input: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, rest) = input.split_at(length);
    *input = rest;
    taken
}
