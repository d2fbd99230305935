//! What arrives at the peers of a load process.

use anyhow::{Result, bail};
use mio::event::Event;

use super::{
    peers::Peers,
    socket::Stage,
    wire::{self, Frame, Upgraded},
};
use crate::peers::clock::Moment;

impl Peers {
    /// Something happened to a peer's connection.
    /// Fails when a proxy refuses the peer, or sends what no proxy sends.
    pub fn ready(&mut self, place: usize, event: &Event) -> Result<()> {
        if self.sockets[place].stage == Stage::Connecting {
            match self.sockets[place].is_connected() {
                Ok(false) => return Ok(()),
                Ok(true) => {
                    let host = self.address(place).to_string();
                    let request = wire::upgrade(&host, &self.tokens[place], self.protocol);
                    self.sockets[place].stage = Stage::Upgrading;
                    if self.sockets[place].send(request.as_bytes()).is_err() {
                        return self.ended(place);
                    }
                }
                Err(_) => return self.ended(place),
            }
        } else if event.is_writable() && self.sockets[place].flush().is_err() {
            return self.ended(place);
        }
        if !event.is_readable() {
            return Ok(());
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let read = self.read(place, &mut buffer, event.is_read_closed());
        self.buffer = buffer;
        read
    }

    /// Reads all that is there. After less than a full buffer the kernel tells when there is more; an end was told already.
    fn read(&mut self, place: usize, buffer: &mut [u8], is_read_closed: bool) -> Result<()> {
        loop {
            match self.sockets[place].read(buffer) {
                Ok(None) => return Ok(()),
                Ok(Some(count)) => {
                    self.take(place, &buffer[..count])?;
                    let done = self.sockets[place].stage == Stage::Closed || (count < buffer.len() && !is_read_closed);
                    if done {
                        return Ok(());
                    }
                }
                Err(_) => return self.ended(place),
            }
        }
    }

    fn hear_calls(&mut self, place: usize, bytes: &[u8], now: Moment) -> Result<()> {
        let Some(calls) = &mut self.calls[place] else {
            bail!("a proxy sent a binary frame to a peer that speaks JSON")
        };
        match calls.hear(bytes) {
            Ok(responses) => {
                for response in responses {
                    self.views.hear_response(place, response, &mut self.nodes, now);
                }
            }
            Err(unexpected) => self.views.wrong(place, &unexpected.to_string()),
        }
        self.send_calls(place)
    }

    fn take(&mut self, place: usize, bytes: &[u8]) -> Result<()> {
        let mut partial = std::mem::take(&mut self.sockets[place].partial);
        if partial.is_empty() {
            return self.parse(place, bytes);
        }
        partial.extend_from_slice(bytes);
        self.parse(place, &partial)
    }

    /// Takes what is whole of these bytes, and keeps the rest.
    fn parse(&mut self, place: usize, mut bytes: &[u8]) -> Result<()> {
        if self.sockets[place].stage == Stage::Upgrading {
            match wire::upgraded(bytes, self.protocol) {
                Upgraded::Partly => {}
                Upgraded::Open(length) => {
                    bytes = &bytes[length..];
                    self.opened(place)?;
                }
                Upgraded::PutOff => return self.ended(place),
                Upgraded::Refused(answer) => bail!("a proxy refused a peer: {answer}"),
            }
        }
        let now = Moment::now();
        while self.sockets[place].stage == Stage::Open && !bytes.is_empty() {
            match wire::frame(bytes) {
                Ok(None) => break,
                Ok(Some((frame, length))) => {
                    bytes = &bytes[length..];
                    match frame {
                        Frame::Text(text) => self.views.hear(place, text, now),
                        Frame::Binary(bytes) => self.hear_calls(place, bytes, now)?,
                        Frame::Ping(payload) => {
                            self.frame.clear();
                            wire::write_pong(&mut self.frame, payload);
                            if self.sockets[place].send(&self.frame).is_err() {
                                return self.ended(place);
                            }
                        }
                        Frame::Close(code, reason) => {
                            let reason = String::from_utf8_lossy(reason);
                            self.views.wrong(place, &format!("to close: {code:?} {reason}"));
                            return self.ended(place);
                        }
                    }
                }
                Err(error) => bail!("a proxy sent {error}"),
            }
        }
        self.sockets[place].partial.extend_from_slice(bytes);
        Ok(())
    }
}
