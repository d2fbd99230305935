//! tailnet v2: the protocol of the programs that exist, without input and output.
//!
//! A connection is a websocket whose binary messages are one stream of bytes. In it are, from the bottom up:
//!
//! - [`yamux`]: several streams in one; [`drpc`]: one call on one stream
//! - [`calls`]: the side that answers: both put together, with bounded memory; [`caller`]: the side that calls
//! - [`messages`]: what the methods take and return, made from `proto/`
//! - [`node`]: a node in protobuf, and to and from JSON; [`derp_map`]: a DERP map in protobuf
//!
//! The protocol has no specification. docs/tailnet-v2.md says what is known and what works.

pub mod caller;
pub mod calls;
pub mod derp_map;
pub mod drpc;
pub mod messages;
pub mod node;
pub mod yamux;
