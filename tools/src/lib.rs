//! What users run against a coordinator, and what these programs share with the tests.
//!
//! - [`message`] and [`websocket`]: what a peer says to a proxy, and hears
//! - `conversation` and `protobuf`: the same in tailnet v2
//! - [`peer`]: a real peer, with WireGuard and TCP in user space; the binary `tailnet-peer` is its command line
//! - [`cluster`]: connections to Postgres, and [`identity`]: peers that an operator created
//! - [`checking`]: light peers, and the oracle that compares what they were told with the tables
//! - [`latencies`]: how long many of the same took
//! - [`program`]: what the command line programs have in common

pub mod checking;
pub mod cluster;
mod conversation;
pub mod identity;
pub mod latencies;
pub mod message;
pub mod peer;
pub mod program;
mod protobuf;
pub mod websocket;
