//! One connected peer.
//!
//! A [`session`] knows no wire format: it hears asks and delivers updates through a [`codec`]. Each wire format is a folder
//! with a codec of its own.
//!
//! - [`session`]: one peer, one task
//! - [`codec`]: the seam between a session and a wire format
//! - [`v1`]: `tailnet.v1.json`, JSON in the text frames of a websocket

pub mod codec;
pub mod session;
pub mod v1;
