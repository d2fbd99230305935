//! yamux: several streams of bytes in one.
//!
//! The protocol is that of `github.com/hashicorp/yamux` v0.1.2, whose defaults real clients use. Bytes go in and events come
//! out; bytes to send come out too. Nothing here waits or reads a clock, so each rule can be tested byte by byte.
//!
//! The kept crates do not fit: one acknowledges a stream only when it has data to send, and a client ends its whole session
//! when a stream is not acknowledged within 75 s; the other reserves 16 KiB for each session. Here a stream that is idle owns
//! no memory but its entry.
//!
//! A [`Session`] hands the bytes of a stream over as they come. They count against the window of the stream until the caller
//! says with [`Session::release`] that it holds them no longer.

mod header;
mod session;
mod stream;

pub use header::{GoAway, StreamId, Violation};
pub use session::{Event, Session, Side};
pub use stream::WINDOW;
