//! One connected peer.
//!
//! A [`session`] knows no wire format: it hears asks and delivers updates through a [`codec`]. Each wire format is a folder
//! with a codec of its own.
//!
//! - [`session`]: one peer, one task
//! - [`codec`]: the seam between a session and a wire format
//! - [`socket`]: the websocket below each of them
//! - [`v1`]: `tailnet.v1.json`, JSON in the text frames of a websocket
//! - [`v2`]: tailnet v2, protobuf in dRPC in yamux in the binary frames of a websocket

pub mod codec;
pub mod session;
pub mod socket;
pub mod v1;
pub mod v2;
