//! Why a request of a peer was not done.

use tailnet_wire::{Refusal, Role};
use uuid::Uuid;

/// A request that was not done. Each codec words it in its own way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// It breaks a rule of the extension.
    Rule(Refusal),
    /// Postgres will never take it. This is what Postgres said.
    Postgres(String),
    /// Postgres will never take this report.
    Report {
        /// The agent's own id of the report.
        id: Uuid,
        /// What Postgres said.
        problem: String,
    },
    /// The peer reports connections, which only an agent does.
    ReportByRole(Role),
}

impl Refused {
    /// Whether it answers a report: an agent may wait for it, whatever else it reads.
    pub fn is_of_report(&self) -> bool {
        matches!(self, Self::Report { .. })
    }
}
