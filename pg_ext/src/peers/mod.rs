//! What peers do: sessions begin and end, nodes are announced, tunnels are opened, and who may do that.

mod batch;
pub mod binding;
mod dial;
mod explanation;
pub mod fencing;
pub mod forbidden_tunnels;
mod handshake;
pub mod key_peers;
mod narrowing;
pub mod permission;
pub mod session_end;
mod session_start;
mod tunnel;
pub mod tunnel_events;
mod view;
