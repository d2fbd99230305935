//! Where connections arrive, and who may come in.
//!
//! - [`server`]: the routes of the public and of the admin listener
//! - [`token`]: the token of an upgrade request; [`resume`]: its resume token
//! - [`upgrade`]: the websocket handshake

pub mod resume;
pub mod server;
pub mod token;
pub mod upgrade;
