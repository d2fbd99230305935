//! A registration begins, and the events of its log are folded.

use tailnet_wire::Event;
use uuid::Uuid;

use super::Switchboard;
use crate::batch::request::{BinderRequest, QuerierRequest, Question, Step};

impl Switchboard {
    /// A registration is current and its log is listened to: all sessions are to be restored.
    pub fn begin(&self, registration: Uuid) {
        let mut fold = self.lock();
        let restoring = self.restoration.begin();
        for id in fold.begin() {
            let restore = BinderRequest { restoring: Some(restoring.clone()), ..BinderRequest::new(Step::Restore) };
            self.binder.push(id, restore);
        }
        drop(fold);
        // The log of this registration does not tell what has changed before it began.
        self.derp_map_changed(None);
        self.readiness.begin(registration);
        self.metrics.resyncs.inc();
    }

    /// Folds one message of the log.
    pub fn fold(&self, events: Vec<Event>) {
        self.metrics.events.inc_by(events.len() as u64);
        let mut fold = self.lock();
        for event in events {
            if let Event::DerpMap { network } = &event {
                self.derp_map_changed(*network);
            }
            if let Some(next) = fold.apply(event) {
                self.querier.push(Question::Page(next.id), QuerierRequest::Page { after: next.after });
            }
        }
        self.metrics.sessions.set(fold.len() as i64);
    }

    /// The LISTEN connection has answered a question: what was committed before the question is folded.
    pub fn mark(&self) {
        self.lock().mark();
    }
}
