//! Requests of the describer: it writes what agents tell of themselves.

use crate::batch::batcher::Request;

/// What an agent told of itself. Its key is the agent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentState {
    /// What it told when it started; None: nothing.
    pub startup: Option<Startup>,
    /// Its last state; None: it told none.
    pub lifecycle: Option<Lifecycle>,
}

/// What an agent tells when it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Startup {
    /// The version of its program.
    pub version: String,
    /// The directory in which it works.
    pub directory: String,
}

/// In which state an agent is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifecycle {
    /// The word for it in SQL.
    pub state: &'static str,
    /// Since when, as RFC 3339 writes times.
    pub since: String,
}

impl Request for AgentState {
    const WORKER: &'static str = "describer";

    fn merge(self, newer: Self) -> Self {
        Self { startup: newer.startup.or(self.startup), lifecycle: newer.lifecycle.or(self.lifecycle) }
    }
}
