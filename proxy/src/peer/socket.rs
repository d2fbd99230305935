//! The websocket below a wire format.

use std::time::Duration;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};
use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::CloseFrame};

/// An open websocket.
pub type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// How long the peer may take to answer a close.
const LINGER: Duration = Duration::from_secs(2);

/// The most bytes of the reason in a close frame: RFC 6455, section 5.5.
const MAX_REASON: usize = 123;

/// Closes a websocket in such a way that the peer sees why. A peer that takes nothing for `patience` is cut off.
pub async fn close(mut socket: Socket, code: u16, reason: &str, patience: Duration) {
    let reason = &reason[..reason.floor_char_boundary(MAX_REASON)];
    let close = CloseFrame { code: code.into(), reason: reason.into() };
    if !matches!(timeout(patience, socket.close(Some(close))).await, Ok(Ok(()))) {
        return;
    }
    // TCP resets a connection that is closed with unread data, and then the peer loses what it has not read yet.
    let stream = socket.get_mut();
    let drain = async {
        stream.shutdown().await?;
        let mut rest = vec![0; 4096]; // on the heap: in the task it would be there for the whole session
        while stream.read(&mut rest).await? > 0 {}
        Ok::<(), std::io::Error>(())
    };
    // A peer that does not close in time is cut off.
    let _ = timeout(LINGER, drain).await;
}
