//! Makes packets of frames, which may come in any pieces.

use crate::drpc::frame::{CALL, CONTROL, DONE, Kind, Packet};

/// The most bytes of a varint of 64 bits.
const MAX_VARINT: u32 = 10;

/// What breaks a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A kind that does not exist.
    #[error("frame of kind {0}, expected 1 to 7")]
    Kind(u8),
    /// A varint over 64 bits.
    #[error("a number in a frame has more than 64 bits")]
    Varint,
    /// Another call on the same stream.
    #[error("frame of call {0}, expected call 1: each call has a stream of its own")]
    Call(u64),
    /// A packet that came before already.
    #[error("frame of packet {found} after packet {last}, expected a higher number")]
    Order {
        /// The packet of the frame.
        found: u64,
        /// The last packet that was done.
        last: u64,
    },
    /// A packet that was not done when the next one began, or that changed its kind.
    #[error("a packet changed before its last frame")]
    Changed,
    /// A packet that is larger than it may be.
    #[error("packet too large, expected at most {0} bytes")]
    TooLarge(usize),
}

/// One direction of a call: the receiver's side.
#[derive(Debug)]
pub struct Reader {
    /// The most bytes of a packet.
    limit: usize,
    state: State,
    /// The packet that is coming, and its number.
    packet: Option<(u64, Packet)>,
    /// The last packet that was done.
    last: u64,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// The first byte of a frame comes next.
    Control,
    /// Numbers are coming: those of the call, of the packet, and the length.
    Numbers { control: u8, done: [u64; 2], have: usize, value: u64, bytes: u32 },
    /// So much data is still to come. It is thrown away when `ignored`.
    Data { left: u64, last: bool, ignored: bool },
}

impl Reader {
    /// A reader of packets of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, state: State::Control, packet: None, last: 0 }
    }

    /// How many bytes of a packet that has not come whole are held.
    pub fn held(&self) -> usize {
        self.packet.as_ref().map_or(0, |(_, packet)| packet.data.len())
    }

    /// Reads on, up to the end of the next packet, and takes what it has read off the front of `input`. None: all was read.
    ///
    /// # Errors
    /// When the other side breaks a rule. Nothing more can be read then.
    pub fn receive(&mut self, input: &mut &[u8]) -> Result<Option<Packet>, Malformed> {
        loop {
            match self.state {
                State::Data { left: 0, last, ignored } => {
                    self.state = State::Control;
                    if last
                        && !ignored
                        && let Some((number, packet)) = self.packet.take()
                    {
                        self.last = number;
                        return Ok(Some(packet));
                    }
                }
                _ if input.is_empty() => return Ok(None),
                State::Control => {
                    let (control, rest) = input.split_first().expect("it is not empty");
                    *input = rest;
                    self.state = State::Numbers { control: *control, done: [0; 2], have: 0, value: 0, bytes: 0 };
                }
                State::Numbers { control, done, have, value, bytes } => {
                    let (byte, rest) = input.split_first().expect("it is not empty");
                    *input = rest;
                    self.state = self.number(control, done, have, value, bytes, *byte)?;
                }
                State::Data { left, last, ignored } => {
                    let length = input.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    let (data, rest) = input.split_at(length);
                    *input = rest;
                    if let Some((_, packet)) = self.packet.as_mut().filter(|_| !ignored) {
                        packet.data.extend_from_slice(data);
                    }
                    self.state = State::Data { left: left - length as u64, last, ignored };
                }
            }
        }
    }

    /// One more byte of the numbers of a frame.
    fn number(
        &mut self,
        control: u8,
        mut done: [u64; 2],
        have: usize,
        value: u64,
        bytes: u32,
        byte: u8,
    ) -> Result<State, Malformed> {
        // The tenth byte has room for one bit.
        if bytes + 1 > MAX_VARINT || (bytes + 1 == MAX_VARINT && byte > 1) {
            return Err(Malformed::Varint);
        }
        let value = value | u64::from(byte & 0x7f) << (7 * bytes);
        if byte & 0x80 != 0 {
            return Ok(State::Numbers { control, done, have, value, bytes: bytes + 1 });
        }
        if let Some(place) = done.get_mut(have) {
            *place = value;
            return Ok(State::Numbers { control, done, have: have + 1, value: 0, bytes: 0 });
        }
        let [call, packet] = done;
        self.frame(control, call, packet, value)
    }

    /// The head of a frame is there.
    fn frame(&mut self, control: u8, call: u64, number: u64, length: u64) -> Result<State, Malformed> {
        let last = control & DONE != 0;
        let number_of_kind = (control & !CONTROL) >> 1;
        let Some(kind) = Kind::of(number_of_kind) else {
            if control & CONTROL != 0 {
                return Ok(State::Data { left: length, last, ignored: true });
            }
            return Err(Malformed::Kind(number_of_kind));
        };
        if call != CALL {
            return Err(Malformed::Call(call));
        }
        if number <= self.last {
            return Err(Malformed::Order { found: number, last: self.last });
        }
        let (begun, packet) = self.packet.get_or_insert_with(|| (number, Packet { kind, data: Vec::new() }));
        if *begun != number || packet.kind != kind {
            return Err(Malformed::Changed);
        }
        let total = (packet.data.len() as u64).checked_add(length);
        if total.is_none_or(|total| total > self.limit as u64) {
            return Err(Malformed::TooLarge(self.limit));
        }
        Ok(State::Data { left: length, last, ignored: false })
    }
}
