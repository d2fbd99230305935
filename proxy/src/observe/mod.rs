//! What operators see of a proxy.
//!
//! - [`metrics`]: counters for the admin listener
//! - [`traces`]: which connections are traced, each a [`trace`]

pub mod metrics;
pub mod trace;
pub mod traces;
