//! dRPC: one call on one stream of bytes.
//!
//! The protocol is that of `storj.io/drpc` v0.0.34. A call is a sequence of packets in each direction; a packet is cut into
//! frames. The number of the call is 1 always, because each call has a stream of its own.

mod frame;
mod reader;
mod writer;

pub use frame::{Kind, Packet};
pub use reader::{Malformed, Reader};
pub use writer::Writer;

/// The code of a call to a method that does not exist.
pub const UNIMPLEMENTED: u64 = 12;
