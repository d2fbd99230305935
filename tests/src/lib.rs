//! What the end-to-end tests of pg_tailnet are made of.
//!
//! - [`message`] and [`coordinator`]: the websocket that a peer holds to a proxy
//! - [`peer`]: a real peer, with WireGuard and TCP in user space; the binary `tailnet-peer` is its command line
//! - [`harness`]: a database, proxies and scripted peers for one test
//! - [`measure`]: what benchmarks share

pub mod coordinator;
pub mod harness;
pub mod measure;
pub mod message;
pub mod peer;
