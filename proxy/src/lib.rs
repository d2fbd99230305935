//! The sidecar of pg_tailnet: it carries websocket peers onto one LISTEN channel.
//!
//! A proxy calls the functions of the extension and folds the one log that the extension writes for it. It reads no table.
//! The folders are the layers. A layer uses only those below it:
//!
//! - [`run`]: the life of the process; [`config`]: its options
//! - `edge`: where connections arrive, and who may come in
//! - `peer`: one connected peer: the session, and a codec for each wire format
//! - [`postgres`]: the side of Postgres: the registration, the log, the workers, the SQL functions
//! - [`state`]: what the proxy knows, and what each peer is still to be told
//! - [`batch`]: how requests become batches
//! - [`message`]: what a peer and the proxy say to each other, in no wire format
//! - [`observe`]: metrics and traces
//!
//! `edge` and `peer` stand beside `postgres`: they meet in `state` only. The public modules are those that the program, the
//! tests and the benchmarks use.

pub mod batch;
pub mod config;
mod edge;
pub mod message;
pub mod observe;
mod peer;
pub mod postgres;
pub mod run;
pub mod state;
