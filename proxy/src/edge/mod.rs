//! Where connections arrive, and who may come in.
//!
//! - [`listener`]: serves HTTP, with deadlines; [`server`]: the routes of the public and of the admin listener
//! - `v1`: the upgrade of `tailnet.v1.json`; `v2`: the requests of tailnet v2; `answer`: answers in plain text
//! - `enrol`: a machine trades a token for a peer
//! - [`admission`]: the check of a token, and the session of a connection that opens
//! - `token`: the token of an upgrade request; `resume`: its resume token; `credential`: the token of a v2 program
//! - `upgrade`: the websocket handshake

pub mod admission;
mod answer;
mod credential;
mod enrol;
pub mod listener;
mod resume;
pub mod server;
mod token;
mod upgrade;
mod v1;
mod v2;
