//! `tailnet.v1.json`: JSON in the text frames of a websocket. docs/protocol.md, "Peers".
//!
//! - [`codec`]: the websocket
//! - [`frame`]: what a peer sends
//! - [`answer`]: what a peer is sent: updates, refusals in words, close codes

pub mod answer;
pub mod codec;
pub mod frame;

pub use codec::{JsonCodec, Socket};

/// The subprotocol of the websocket.
pub const SUBPROTOCOL: &str = "tailnet.v1.json";
