//! What an end-to-end test needs: a database of its own, real proxies, and peers that do as they are told.
//!
//! A test is an `async fn(&Stack) -> anyhow::Result<()>`, run by [`run()`]. An assertion of a test panics, and names a line
//! of the test. A function of the harness returns an error when it cannot do what it was asked to do: when Postgres
//! refuses, a websocket or a process is gone, or the [`deadline`] passes.
//!
//! # No test sleeps
//!
//! A test awaits with a deadline what must arrive. It proves that something does *not* arrive by what arrives after it, see
//! [`marker`]. The [`tap`] hears what Postgres tells the proxies.

#![allow(missing_docs, reason = "many a name here says all that there is to say")]

pub mod database;
pub mod deadline;
pub mod http;
mod inbox;
pub mod marker;
pub mod operator;
pub mod plan;
pub mod private_cluster;
pub mod process;
pub mod process_tree;
pub mod proxy;
pub mod relay;
mod run;
pub mod stack;
pub mod statements;
pub mod tap;
pub mod test_peer;

pub use marker::Marker;
pub use proxy::Proxy;
pub use relay::Relay;
pub use run::{run, run_with};
pub use stack::Stack;
pub use tap::LogTap;
pub use test_peer::TestPeer;
