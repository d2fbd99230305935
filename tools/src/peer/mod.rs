//! A real peer: WireGuard and TCP in user space, so that it needs no privileges.
//!
//! Arrows point one way: `{agent, client} → {echo_server, echo_client, identity, pace} → endpoint → {tcp → device, tunnels} →
//! announcement → key`.

pub mod agent;
pub mod announcement;
pub mod client;
mod device;
pub mod echo_client;
pub mod echo_server;
pub mod endpoint;
pub mod identity;
pub mod key;
pub mod pace;
pub mod tcp;
pub mod tunnels;
