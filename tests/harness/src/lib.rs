//! What an end-to-end test needs: a database of its own, real proxies, and peers that do as they are told.
//!
//! A test is an `async fn(&Stack) -> anyhow::Result<()>`, run by [`run`]. What it claims is asserted and panics at the
//! line of the test; what the harness cannot do is an error.
//!
//! # No test sleeps
//!
//! That something arrives is awaited, with a [deadline](deadline). That something does *not* arrive is proved by what
//! arrives after it, see [`marker`]; that no coordinator was told at all is read off the logs, see [`tap`].

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
