//! Makes frames of packets.

use crate::drpc::frame::{CALL, DONE, Kind};

/// The most data in a frame, as the Go library cuts it.
const MAX_FRAME: usize = 64 * 1024;

/// One direction of a call: the sender's side.
#[derive(Debug)]
pub struct Writer {
    /// The number of the next packet.
    next: u64,
}

impl Default for Writer {
    fn default() -> Self {
        Self { next: 1 }
    }
}

impl Writer {
    /// The bytes of a packet.
    pub fn packet(&mut self, kind: Kind, data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(data.len() + 8);
        let mut rest = data;
        loop {
            let (now, later) = rest.split_at(rest.len().min(MAX_FRAME));
            bytes.push(kind.number() << 1 | if later.is_empty() { DONE } else { 0 });
            for number in [CALL, self.next, now.len() as u64] {
                varint(&mut bytes, number);
            }
            bytes.extend_from_slice(now);
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        self.next += 1;
        bytes
    }

    /// The bytes of a packet that ends the call with an error.
    pub fn error(&mut self, code: u64, text: &str) -> Vec<u8> {
        self.packet(Kind::Error, &[&code.to_be_bytes(), text.as_bytes()].concat())
    }
}

fn varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}
