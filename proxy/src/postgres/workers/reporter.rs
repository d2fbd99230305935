//! Writes the connections that agents report, and acknowledges them when they are committed.

use tailnet_wire::{ConnectionEvent, SessionId};
use uuid::Uuid;

use crate::{
    batch::{batcher::Batcher, bisect::Bisect, request::ReportRequest},
    message::Refused,
    postgres::{
        store::Store,
        worker::{Outcome, Worker},
    },
    state::switchboard::Switchboard,
};

#[derive(Debug, Clone)]
pub struct Reporter;

impl Worker for Reporter {
    /// Its place in the order of arrival.
    type Key = u64;
    type Request = ReportRequest;
    // Events end in the same rows in whatever order, and however often they are written.
    const FENCED: bool = false;

    fn traced(_: &u64, request: &ReportRequest) -> Option<(SessionId, &'static str)> {
        Some((request.session, "report"))
    }

    fn batcher(switchboard: &Switchboard) -> &Batcher<u64, ReportRequest> {
        &switchboard.reporter
    }

    async fn run(
        &self,
        switchboard: &Switchboard,
        store: &mut Store,
        _: Uuid,
        batch: Vec<(u64, ReportRequest)>,
    ) -> Outcome<u64, ReportRequest> {
        let (batch, malformed): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|(_, request)| request.report.event.is_ok());
        let mut bisect = Bisect::new([batch]);
        while let Some(chunk) = bisect.next_chunk() {
            let events: Vec<&ConnectionEvent> =
                chunk.iter().filter_map(|(_, request)| request.report.event.as_ref().ok()).collect();
            let result = store.upsert_connection_logs(&events).await.map(|rows| {
                switchboard.metrics.log_rows.inc_by(rows);
            });
            bisect.tell(chunk, result);
        }
        switchboard.acknowledge(bisect.done.into_iter().map(|(_, request)| (request.session, request.report.id)));
        let malformed = malformed.into_iter().filter_map(|(key, request)| {
            let problem = request.report.event.as_ref().err()?.clone();
            Some(((key, request), problem))
        });
        for ((_, request), problem) in bisect.refused.into_iter().chain(malformed) {
            switchboard.refuse(request.session, Refused::Report { id: request.report.id, problem });
        }
        Outcome { failed: bisect.failed, errors: bisect.error.into_iter().collect() }
    }
}
