//! Sessions begin, announce their nodes and end.

use std::sync::{Arc, atomic::Ordering};

use tailnet_wire::{Node, SessionId};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{Joined, Switchboard};
use crate::{
    batch::request::{
        Authentication, BinderRequest, Enrolment, Permit, Proof, QuerierRequest, Question, Step, TokenHash,
    },
    message::{Ending, Refused},
    state::outbox::Outbox,
};

impl Switchboard {
    /// Asks whose token this is. The answer is dropped when Postgres gives none.
    pub fn authenticate(&self, hash: TokenHash, resume: String) -> oneshot::Receiver<Authentication> {
        let (reply, answer) = oneshot::channel();
        self.querier.push(Question::Token(self.number_question()), QuerierRequest::Token { hash, resume, reply });
        answer
    }

    /// Asks for a peer for a machine. The answer is dropped when Postgres gives none.
    pub fn enrol(&self, hash: TokenHash, machine: Uuid) -> oneshot::Receiver<Enrolment> {
        let (reply, answer) = oneshot::channel();
        let question = Question::Enrolment(self.number_question());
        self.querier.push(question, QuerierRequest::Enrolment { hash, machine, reply });
        answer
    }

    pub(super) fn number_question(&self) -> u64 {
        self.questions.fetch_add(1, Ordering::Relaxed)
    }

    /// A session begins, which may have tunnels to `only`, or to all that policy allows; None: a newer one of its peer is here already.
    pub fn join(&self, id: SessionId, proof: Proof, only: Option<Uuid>) -> Option<Joined> {
        let mut fold = self.lock();
        let outbox = fold.open(id)?;
        fold.admitted(id, proof, only);
        let (done, attached) = oneshot::channel();
        self.binder.push(id, BinderRequest { done: vec![done], ..BinderRequest::new(Step::Attach) });
        self.metrics.sessions.set(fold.len() as i64);
        Some(Joined { outbox, attached })
    }

    /// A session announced its node.
    pub fn announce(&self, id: SessionId, node: Node, permit: Permit) {
        let mut fold = self.lock();
        if fold.announce(id, node) {
            self.binder.push(id, BinderRequest { permit: Some(permit), ..BinderRequest::new(Step::Bind) });
        }
    }

    /// Ends a session with a goodbye. The receiver is told when Postgres knows; None: the session ended already.
    pub fn disconnect(&self, id: SessionId) -> Option<oneshot::Receiver<()>> {
        let mut fold = self.lock();
        let (proof, _) = fold.admission(id)?;
        fold.close(id);
        let (done, committed) = oneshot::channel();
        self.binder
            .push(id, BinderRequest { done: vec![done], proof: Some(proof), ..BinderRequest::new(Step::Disconnect) });
        self.metrics.sessions.set(fold.len() as i64);
        Some(committed)
    }

    /// Ends a session without a goodbye, unless it ended already.
    pub fn lose(&self, id: SessionId) {
        let mut fold = self.lock();
        if fold.close(id) && !self.readiness.draining() {
            self.binder.push(id, BinderRequest::new(Step::Lose));
        }
        self.metrics.sessions.set(fold.len() as i64);
    }

    /// The number of sessions.
    pub fn sessions(&self) -> usize {
        self.lock().len()
    }

    /// Sends up to `count` peers to other proxies. Returns the number of sessions before that.
    pub fn shed(&self, count: usize) -> usize {
        let fold = self.lock();
        for outbox in fold.outboxes().take(count) {
            if outbox.end(Ending::Shed) {
                self.metrics.shed.inc();
            }
        }
        fold.len()
    }

    /// The outbox of a session; None: the session ended.
    pub fn outbox(&self, id: SessionId) -> Option<Arc<Outbox>> {
        self.lock().outbox(id).cloned()
    }

    /// Postgres will never do a request of a session. The session ends.
    pub fn refuse(&self, id: SessionId, refused: Refused) {
        tracing::warn!(%id, trace_id = self.traces.id(id), ?refused, "Postgres refused a request");
        self.lock().refuse(id, refused, true);
    }
}
