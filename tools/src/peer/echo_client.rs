//! Sends bytes to an echo service and compares what comes back.

use std::net::Ipv6Addr;

use anyhow::Result;
use smoltcp::socket::tcp::State;

use super::{
    echo_server::ECHO_PORT,
    tcp::{Handle, TcpStack},
};

/// What is filled and sent at once.
const CHUNK: usize = 16 * 1024;

/// What went wrong on the way.
#[derive(Debug, thiserror::Error)]
pub enum EchoError {
    /// Not what was sent.
    #[error("byte {at} came back as {got:#04x}, expected {expected:#04x}")]
    Mismatch {
        /// Counted from 0.
        at: u64,
        /// What came.
        got: u8,
        /// What was sent.
        expected: u8,
    },
    /// The other end closed, reset or went silent.
    #[error("the connection ended after {received} of {total} bytes")]
    Ended {
        /// Bytes that had come back.
        received: u64,
        /// Bytes that should.
        total: u64,
    },
    /// More came back than was sent.
    #[error("more than the {total} bytes that were sent came back")]
    Excess {
        /// Bytes that should.
        total: u64,
    },
}

/// One connection to an echo service.
#[derive(Debug)]
pub struct EchoClient {
    connection: Handle,
    seed: u64,
    /// Bytes that may leave.
    total: u64,
    /// It may become more.
    is_open: bool,
    sent: u64,
    received: u64,
}

impl EchoClient {
    /// Opens a connection to the service at `to`, for `total` bytes that follow from `seed`.
    ///
    /// # Errors
    /// When the TCP stack refuses the address.
    pub fn connect(tcp: &mut TcpStack, to: Ipv6Addr, seed: u64, total: u64) -> Result<Self> {
        Ok(Self { total, is_open: false, ..Self::open(tcp, to, seed)? })
    }

    /// The same for as many bytes as [`Self::supply`] says, until [`Self::end`].
    ///
    /// # Errors
    /// When the TCP stack refuses the address.
    pub fn open(tcp: &mut TcpStack, to: Ipv6Addr, seed: u64) -> Result<Self> {
        let connection = tcp.connect(to, ECHO_PORT)?;
        Ok(Self { connection, seed, total: 0, is_open: true, sent: 0, received: 0 })
    }

    /// So many bytes may have left, all together, unless it has ended.
    pub fn supply(&mut self, total: u64) {
        if self.is_open {
            self.total = self.total.max(total);
        }
    }

    /// No more bytes leave.
    pub fn end(&mut self) {
        self.total = self.sent;
        self.is_open = false;
    }

    /// Sends and compares what can be; true when all came back and both ends have closed.
    ///
    /// # Errors
    /// When the echo is wrong or ends early.
    pub fn advance(&mut self, tcp: &mut TcpStack) -> Result<bool, EchoError> {
        let socket = tcp.socket(self.connection);
        while socket.can_send() && self.sent < self.total {
            let room = socket.send_capacity() - socket.send_queue();
            let mut chunk = [0; CHUNK];
            let len = u64::try_from(room.min(CHUNK)).unwrap_or(u64::MAX).min(self.total - self.sent);
            let chunk = &mut chunk[..usize::try_from(len).unwrap_or(CHUNK)];
            fill(self.seed, self.sent, chunk);
            self.sent += socket.send_slice(chunk).unwrap_or(0) as u64;
        }
        while socket.can_recv() {
            let compared = socket.recv(|data| (data.len(), compare(self.seed, self.received, data)));
            self.received += compared.unwrap_or(Ok(0))?;
        }
        if self.received > self.sent {
            return Err(EchoError::Excess { total: self.sent });
        }
        if self.received == self.total && !self.is_open {
            socket.close();
            return Ok(matches!(socket.state(), State::TimeWait | State::Closed));
        }
        if !socket.may_recv() && !matches!(socket.state(), State::SynSent | State::SynReceived) {
            return Err(EchoError::Ended { received: self.received, total: self.total });
        }
        Ok(false)
    }

    /// Bytes that may leave, as far as that is known.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Bytes that left so far.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Bytes that came back so far.
    pub fn received(&self) -> u64 {
        self.received
    }
}

/// Writes the bytes of the stream of `seed` that start at `offset`. Any part of it can be made alone, so nothing of
/// what was sent needs to be kept.
fn fill(seed: u64, offset: u64, bytes: &mut [u8]) {
    for (at, byte) in (offset..).zip(bytes) {
        *byte = byte_at(seed, at);
    }
}

fn compare(seed: u64, offset: u64, bytes: &[u8]) -> Result<u64, EchoError> {
    for (at, &got) in (offset..).zip(bytes) {
        let expected = byte_at(seed, at);
        if got != expected {
            return Err(EchoError::Mismatch { at, got, expected });
        }
    }
    Ok(bytes.len() as u64)
}

/// The finalizer of splitmix64 over the position: no period and no pattern that a shifted echo could fit.
fn byte_at(seed: u64, at: u64) -> u8 {
    let mut x = seed.wrapping_add(at.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ (x >> 31)).to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shifted_or_changed_echo_is_noticed() {
        let mut bytes = [0; 1000];
        fill(7, 500, &mut bytes);
        assert_eq!(compare(7, 500, &bytes).expect("the same"), 1000);
        assert!(matches!(compare(7, 501, &bytes), Err(EchoError::Mismatch { at: 501..510, .. })));
        bytes[900] ^= 1;
        assert!(matches!(compare(7, 500, &bytes), Err(EchoError::Mismatch { at: 1400, .. })));
    }
}
