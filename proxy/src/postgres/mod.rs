//! The side of Postgres.
//!
//! - [`database`]: how connections are made; [`authorities`]: whose certificates are good
//! - [`store`]: the SQL functions of the extension, named nowhere else; [`store_error`]: why a call failed; `connection`: the
//!   connection and its prepared statements
//! - `coordinator`: registers, sends the heartbeat, folds the log, and starts again after any doubt
//! - [`listener`]: the LISTEN connection; `reaper`: ends what operators have taken away
//! - `worker`: the loop that takes batches and calls Postgres; `workers`: what each kind of worker does with a batch
//! - `shedder`: sends peers to other proxies when Postgres stays away
//! - `backoff`: how long to wait before the next attempt

pub mod authorities;
pub(crate) mod backoff;
pub(crate) mod connection;
pub(crate) mod coordinator;
pub mod database;
pub mod listener;
pub(crate) mod reaper;

pub(crate) mod shedder;
pub mod store;
pub mod store_error;
pub(crate) mod worker;
pub(crate) mod workers;
