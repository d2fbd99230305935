//! Agents are heard, and report their connections.
//!
//! Nothing that is acknowledged is lost, and nothing is dropped in silence: a report holds its room in a bounded queue until
//! it is written. While there is no room, an agent that reports is not read.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
};

use tailnet_wire::SessionId;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::Switchboard;
use crate::{
    batch::request::{AgentInfo, AgentState, QuerierRequest, Question, ReportRequest, Room, Sighting},
    message::Report,
};

impl Switchboard {
    /// An agent connected, was heard, or disconnected.
    pub fn sighted(&self, agent: Uuid, sighting: Sighting) {
        self.liveness.push(agent, sighting);
    }

    /// An agent told something of itself.
    pub fn describe(&self, agent: Uuid, state: AgentState) {
        self.describer.push(agent, state);
    }

    /// Asks what an agent is told of itself. The answer is dropped when Postgres gives none.
    pub fn agent_info(&self, agent: Uuid) -> oneshot::Receiver<AgentInfo> {
        let (reply, answer) = oneshot::channel();
        let question = Question::AgentInfo(self.number_question());
        self.querier.push(question, QuerierRequest::AgentInfo { agent, reply });
        answer
    }

    /// An agent reports connections to it.
    pub fn report(&self, session: SessionId, reports: Vec<Report>, room: &Room) {
        for report in reports {
            let place = self.reports.fetch_add(1, Ordering::Relaxed);
            self.reporter.push(place, ReportRequest { session, report, room: Arc::clone(room) });
        }
    }

    /// These reports, each with its session, are committed.
    pub fn acknowledge(&self, reports: impl IntoIterator<Item = (SessionId, Uuid)>) {
        let mut by_session: HashMap<SessionId, Vec<Uuid>> = HashMap::new();
        for (session, id) in reports {
            by_session.entry(session).or_default().push(id);
        }
        for (session, ids) in by_session {
            // An agent that is gone reports again later, and that changes nothing.
            if let Some(outbox) = self.outbox(session) {
                outbox.acknowledge(&ids);
            }
        }
    }
}
