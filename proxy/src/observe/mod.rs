//! What operators see of a proxy.
//!
//! - [`metrics`]: counters for the admin listener
//! - [`telemetry`]: what clients measure, for the metrics
//! - [`traces`]: which connections are traced, each a [`trace`]

pub mod metrics;
pub mod telemetry;
pub mod trace;
pub mod traces;
