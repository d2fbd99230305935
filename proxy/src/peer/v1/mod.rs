//! `tailnet.v1.json`: JSON in the text frames of a websocket. docs/protocol.md, "Peers".
//!
//! - [`websocket`]: the websocket
//! - [`from_peer`]: what a peer sends
//! - [`to_peer`]: what it is sent: updates, acknowledgements, refusals in words
//! - [`map_frames`]: the DERP map, for a peer that asked
//! - [`close`]: the code and the reason with which a session ends

pub mod close;
pub mod from_peer;
pub mod map_frames;
pub mod to_peer;
pub mod websocket;

pub use websocket::JsonCodec;

/// The subprotocol of the websocket.
pub const SUBPROTOCOL: &str = "tailnet.v1.json";
