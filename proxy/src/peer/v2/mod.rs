//! tailnet v2: the protocol of programs that others built. docs/tailnet-v2.md.
//!
//! - [`websocket`]: the connection: one task that reads, answers and delivers; `wire`: reads and writes it
//! - `coordination`: the call that asks and is told what a session asks and is told
//! - `from_peer`: its requests; `to_peer`: its responses and refusals
//! - `map_calls`: the calls that wait for the DERP map
//! - `reports`: the calls that wait for a report to be written
//! - `unary`: calls that are answered at once; `agent`: those of an agent
//! - `close`: the close code of an ending

mod agent;
mod close;
mod coordination;
mod from_peer;
mod map_calls;
mod reports;
mod to_peer;
mod unary;
pub mod websocket;
mod wire;

pub use websocket::{Peer, ProtobufCodec};
