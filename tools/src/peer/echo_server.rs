//! Sends back whatever it is sent.

use anyhow::Result;
use smoltcp::socket::tcp::{Socket, State};

use super::tcp::{Handle, TcpStack};

/// The port that the protocol has had since 1983.
pub const ECHO_PORT: u16 = 7;

/// How many connections may arrive between two looks.
const BACKLOG: usize = 8;

/// The echo service on a [`TcpStack`].
#[derive(Debug)]
pub struct EchoServer {
    /// One socket takes one connection, so there are some in waiting.
    listening: Vec<Handle>,
    open: Vec<Handle>,
    received: u64,
    sent: u64,
}

impl EchoServer {
    /// Listens.
    ///
    /// # Errors
    /// When the TCP stack refuses.
    pub fn new(tcp: &mut TcpStack) -> Result<Self> {
        let listening = (0..BACKLOG).map(|_| tcp.listen(ECHO_PORT)).collect::<Result<_>>()?;
        Ok(Self { listening, open: Vec::new(), received: 0, sent: 0 })
    }

    /// Serves what has come in since the last call.
    ///
    /// # Errors
    /// When the TCP stack refuses a place for the next connection.
    pub fn advance(&mut self, tcp: &mut TcpStack) -> Result<()> {
        for place in &mut self.listening {
            if !tcp.socket(*place).is_listening() {
                let connection = std::mem::replace(place, tcp.listen(ECHO_PORT)?);
                self.open.push(connection);
            }
        }
        for &connection in &self.open {
            let (received, sent) = echo(tcp.socket(connection));
            self.received += received;
            self.sent += sent;
        }
        self.open.retain(|&connection| {
            let open = tcp.socket(connection).is_open();
            if !open {
                tcp.remove(connection);
            }
            open
        });
        Ok(())
    }

    /// Bytes that came in so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Bytes that were sent back so far.
    pub fn sent(&self) -> u64 {
        self.sent
    }
}

/// Moves what fits from the receive buffer to the send buffer, and returns the bytes taken and given.
fn echo(socket: &mut Socket<'_>) -> (u64, u64) {
    let (mut received, mut sent) = (0, 0);
    while socket.can_recv() && socket.can_send() {
        let room = socket.send_capacity() - socket.send_queue();
        let taken = socket.recv(|data| {
            let taken = data[..data.len().min(room)].to_vec();
            (taken.len(), taken)
        });
        let Ok(taken) = taken else { break };
        received += taken.len() as u64;
        sent += socket.send_slice(&taken).unwrap_or(0) as u64;
    }
    // The other end has closed its half, and has got everything back.
    if socket.state() == State::CloseWait && socket.recv_queue() == 0 {
        socket.close();
    }
    (received, sent)
}
