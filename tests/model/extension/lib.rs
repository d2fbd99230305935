//! The extension in memory: its tables, and the events that it writes to the logs of two coordinators.
//!
//! It follows `pg_ext/src/{order,peers,coordinators}` without batches, networks, roles, handshakes and logs of connections.
//! Two tests use it: `orders` goes through every order of the steps of a small network, and `fold` through random orders
//! of a larger one. Both drive the proxy's own code with the events of these tables.
//!
//! - [`peers`]: peers, and the tunnels between them; [`event`]: what is written to a log
//! - [`call`]: what a coordinator asks; [`tables`]: what the calls do; [`coordinators`]: who is registered
//! - [`guards`]: what the protocol does against faults
//! - [`wire`]: events as a proxy reads them

// Only the tests of this crate use it.
#![allow(missing_docs)]

pub mod call;
pub mod coordinators;
pub mod event;
pub mod guards;
pub mod peers;
pub mod tables;
pub mod wire;
