//! How requests become batches: one call to Postgres for many requests.
//!
//! - [`batcher`]: the requests that wait, and when a batch of them may go
//! - [`pace`]: how far batches are apart
//! - [`request`]: what waits, and how two requests of one key become one
//! - [`bisect`]: finds the one bad entry of a batch
//! - [`restoring`]: whether all sessions of a registration are restored

pub mod batcher;
pub mod bisect;
pub mod pace;
pub mod request;
pub mod restoring;
