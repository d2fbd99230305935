//! The websocket of a connection, and the calls in its bytes.

use std::{
    future::poll_fn,
    task::{Context, Poll},
};

use futures_util::{SinkExt as _, StreamExt as _};
use tailnet_v2::calls::Calls;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message as Frame};

use crate::peer::socket::Socket;

/// The websocket, and the calls in its bytes.
#[derive(Debug)]
pub struct Wire {
    pub socket: Socket,
    pub calls: Calls,
    /// All that was there was written, since this was last looked at: a slow reader that is told much is hardly ever idle.
    pub wrote: bool,
    /// A message is on its way into the socket.
    flushing: bool,
}

/// What happened on the wire.
#[derive(Debug)]
pub enum Step {
    /// The peer sent something; None: the connection ended.
    Read(Option<Result<Frame, SocketError>>),
    /// All that waited is written.
    Written,
}

impl Wire {
    /// The calls of a websocket that has just opened.
    pub fn new(socket: Socket) -> Self {
        Self { socket, calls: Calls::default(), wrote: false, flushing: false }
    }

    /// Whether nothing waits to be written.
    pub fn is_idle(&self) -> bool {
        !self.flushing && self.calls.output() == 0
    }

    /// Writes what waits and reads what came. Reading goes on whether or not the peer takes what is written.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        let busy = !self.is_idle();
        match self.poll_write(cx) {
            Err(_) => Poll::Ready(Step::Read(None)),
            Ok(()) if busy && self.is_idle() => Poll::Ready(Step::Written),
            Ok(()) => self.socket.poll_next_unpin(cx).map(Step::Read),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<(), SocketError> {
        loop {
            if self.calls.output() > 0 && self.socket.poll_ready_unpin(cx)?.is_ready() {
                let bytes = self.calls.take_output();
                self.socket.start_send_unpin(Frame::binary(bytes))?;
                self.flushing = true;
            }
            if !self.flushing || self.socket.poll_flush_unpin(cx)?.is_pending() {
                return Ok(());
            }
            (self.flushing, self.wrote) = (false, true);
        }
    }

    /// Writes what the socket takes at once. An error is found when the socket is read.
    pub async fn begin_write(&mut self) {
        poll_fn(|cx| {
            let _ = self.poll_write(cx);
            Poll::Ready(())
        })
        .await;
    }

    /// Writes all that waits.
    pub async fn write_out(&mut self) -> Result<(), SocketError> {
        poll_fn(|cx| match self.poll_write(cx) {
            Ok(()) if self.is_idle() => Poll::Ready(Ok(())),
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        })
        .await
    }
}
