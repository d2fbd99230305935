//! Writes the connections that agents report, and acknowledges them when they are committed.
//!
//! Nothing acknowledged is lost, and nothing is dropped silently: a report holds its room in a bounded queue until it
//! is written, and while there is no room, who reports is not read.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
};

use serde_json::{Map, Value};
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

use crate::{
    batcher::{Batcher, Request},
    bisect::Bisect,
    hub::Hub,
    id::SessionId,
    store::Store,
    worker::{Outcome, Role},
};

/// The role.
#[derive(Debug, Clone)]
pub struct Reporter;

/// The fields of an event, as the extension takes them: it knows their names and checks their values.
pub type Event = Map<String, Value>;

/// Room in the queue, for all reports of a frame.
pub type Room = Arc<OwnedSemaphorePermit>;

/// One event of a connection.
#[derive(Debug)]
pub struct Report {
    /// Who reports it.
    pub session: SessionId,
    /// What the agent knows it by. An event without a connection id is kept under it, so its repeat is no second row.
    pub id: Uuid,
    /// What it says.
    pub event: Event,
    /// See [`Room`].
    pub room: Room,
}

impl Request for Report {
    fn merge(self, newer: Self) -> Self {
        newer // never happens: each has a key of its own
    }
}

impl Hub {
    /// An agent reports connections to it.
    pub fn report(&self, session: SessionId, reports: Vec<(Uuid, Event)>, room: &Room) {
        for (id, mut event) in reports {
            event.insert("agent_id".to_owned(), session.peer.to_string().into());
            let key = self.reports.fetch_add(1, Ordering::Relaxed);
            self.reporter.push(key, Report { session, id, event, room: Arc::clone(room) });
        }
    }

    /// Reports are committed.
    fn acknowledge(&self, reports: impl IntoIterator<Item = (SessionId, Uuid)>) {
        let mut by_session: HashMap<SessionId, Vec<Uuid>> = HashMap::new();
        for (session, id) in reports {
            by_session.entry(session).or_default().push(id);
        }
        for (session, ids) in by_session {
            // Who is gone reports again, and that changes nothing.
            if let Some(outbox) = self.outbox(session) {
                outbox.acknowledge(&ids);
            }
        }
    }
}

impl Role for Reporter {
    /// The place in the order of arrival.
    type Key = u64;
    type Request = Report;
    const NAME: &'static str = "reporter";
    // Events converge whatever their order and repetition.
    const FENCED: bool = false;

    fn traced(_: &u64, report: &Report) -> Option<(SessionId, &'static str)> {
        Some((report.session, "report"))
    }

    fn batcher(hub: &Hub) -> &Batcher<u64, Report> {
        &hub.reporter
    }

    async fn run(&self, hub: &Hub, store: &mut Store, _: Uuid, batch: Vec<(u64, Report)>) -> Outcome<u64, Report> {
        let mut bisect = Bisect::new([batch]);
        while let Some(chunk) = bisect.next_chunk() {
            let events: Vec<&Event> = chunk.iter().map(|(_, report)| &report.event).collect();
            let result = store.upsert_connection_logs(&events).await.map(|rows| {
                hub.metrics.log_rows.inc_by(rows);
            });
            bisect.tell(chunk, result);
        }
        hub.acknowledge(bisect.done.into_iter().map(|(_, report)| (report.session, report.id)));
        for ((_, report), error) in bisect.refused {
            hub.refuse(report.session, format!("report {} is refused: {error}", report.id));
        }
        Outcome { failed: bisect.failed, errors: bisect.error.into_iter().collect() }
    }
}
