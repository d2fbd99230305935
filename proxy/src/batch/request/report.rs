//! Requests of the reporter: it writes what agents report of their connections.

use std::sync::Arc;

use tailnet_wire::SessionId;
use tokio::sync::OwnedSemaphorePermit;

use crate::{batch::batcher::Request, message::Report};

/// The room in the queue that all reports of one ask hold together. It is free when the last of them is written.
pub type Room = Arc<OwnedSemaphorePermit>;

/// A report that waits to be written. Its key is its place in the order of arrival.
#[derive(Debug)]
pub struct ReportRequest {
    /// The session of the agent.
    pub session: SessionId,
    /// The report.
    pub report: Report,
    /// Holds the room until the report is written.
    pub room: Room,
}

impl Request for ReportRequest {
    const WORKER: &'static str = "reporter";

    /// Never happens: each report has a key of its own.
    fn merge(self, newer: Self) -> Self {
        newer
    }

    fn is_urgent(&self) -> bool {
        self.report.awaited
    }
}
