//! Batches that workers have taken, and what becomes of them.

use std::time::Duration;

use futures_util::FutureExt as _;
use tailnet_proxy::{
    batch::{
        batcher::Batching,
        request::{BinderRequest, QuerierRequest, Question, Step, TunnelerRequest},
    },
    message::Wish,
    state::switchboard::Switchboard,
};
use tailnet_wire::SessionId;
use uuid::Uuid;

use super::{
    model::Unregistered,
    world::{World, pick},
};

/// A batch in flight.
pub struct Flight {
    proxy: usize,
    registration: Uuid,
    work: Work,
}

enum Work {
    /// With the node and the tunnels as they were when it was taken.
    Binder(Vec<(SessionId, BinderRequest, Option<i64>, Vec<Uuid>)>),
    Tunneler(Vec<((SessionId, Uuid), TunnelerRequest)>),
    Querier(Vec<(Question, QuerierRequest)>),
}

impl World {
    pub(super) fn take(&mut self, at: usize, role: usize, limit: usize) -> bool {
        let proxy = &self.proxies[at];
        let Some(registration) = proxy.registration else { return false };
        let switchboard = &proxy.switchboard;
        let batching = Batching { limit, linger: Duration::ZERO, pace: Duration::ZERO };
        let work = match role {
            0 => switchboard.binder.take(batching).now_or_never().map(|batch| {
                Work::Binder(batch.into_iter().map(|(id, request)| prepare(switchboard, id, request)).collect())
            }),
            1 => switchboard.tunneler.take(batching).now_or_never().map(Work::Tunneler),
            _ => switchboard.querier.take(batching).now_or_never().map(Work::Querier),
        };
        let Some(work) = work else { return false };
        self.flights.push(Flight { proxy: at, registration, work });
        true
    }

    pub(super) fn land(&mut self, which: usize) -> Option<Flight> {
        pick(which, self.flights.len()).map(|which| self.flights.remove(which))
    }

    pub(super) fn commit(&mut self, flight: Flight, cut: bool) {
        let (at, registration) = (flight.proxy, flight.registration);
        if let Err(Unregistered) = self.model.admit(at, registration) {
            self.give_back(flight);
            self.doubt_registration(at, registration);
            return;
        }
        match &flight.work {
            Work::Binder(batch) => {
                for (id, request, node, tunnels) in batch {
                    match (request.step, node) {
                        (Some(Step::Attach), _) => self.model.attach(at, *id),
                        (Some(Step::Bind), Some(node)) => self.model.bind(at, *id, *node),
                        (Some(Step::Restore), _) => self.model.restore(at, *id, *node, tunnels),
                        (Some(Step::Lose), _) => self.model.lose(at, *id),
                        (Some(Step::Disconnect), _) => self.model.disconnect(at, *id),
                        (None, _) | (Some(Step::Bind), None) => {}
                    }
                }
            }
            Work::Tunneler(batch) => {
                for ((id, dst), request) in batch {
                    match request.wish.expect("no handshakes here") {
                        Wish::Open => self.model.open(at, *id, *dst),
                        Wish::Close => self.model.close(at, *id, *dst),
                    }
                }
            }
            Work::Querier(batch) => {
                for (question, request) in batch {
                    let (Question::Page(id), QuerierRequest::Page { after }) = (question, request) else {
                        unreachable!("no tokens here")
                    };
                    self.model.view(at, *id, *after);
                }
            }
        }
        if cut {
            self.give_back(flight);
            self.doubt_registration(at, registration);
        } else {
            self.finish(flight);
        }
    }

    fn finish(&mut self, flight: Flight) {
        let switchboard = &self.proxies[flight.proxy].switchboard;
        match flight.work {
            Work::Binder(batch) => {
                let ids: Vec<_> = batch.iter().map(|(id, ..)| *id).collect();
                for (id, request, _, tunnels) in &batch {
                    if request.step == Some(Step::Restore) {
                        switchboard.restored(*id, tunnels);
                    }
                }
                batch.into_iter().flat_map(|(_, request, ..)| request.done).for_each(|done| {
                    let _ = done.send(());
                });
                switchboard.binder.finish(ids, Vec::new());
            }
            Work::Tunneler(batch) => {
                for (end, request) in &batch {
                    switchboard.commit(&[*end], request.wish.expect("no handshakes here"));
                }
                switchboard.tunneler.finish(batch.into_iter().map(|(end, _)| end), Vec::new());
            }
            Work::Querier(batch) => {
                switchboard.querier.finish(batch.into_iter().map(|(question, _)| question), Vec::new())
            }
        }
    }

    pub(super) fn give_back(&mut self, flight: Flight) {
        let switchboard = &self.proxies[flight.proxy].switchboard;
        match flight.work {
            Work::Binder(batch) => {
                let failed: Vec<_> = batch.into_iter().map(|(id, request, ..)| (id, request)).collect();
                switchboard.binder.finish(failed.iter().map(|(id, _)| *id).collect::<Vec<_>>(), failed);
            }
            Work::Tunneler(batch) => {
                switchboard.tunneler.finish(batch.iter().map(|(end, _)| *end).collect::<Vec<_>>(), batch);
            }
            Work::Querier(batch) => {
                switchboard.querier.finish(batch.iter().map(|(question, _)| *question).collect::<Vec<_>>(), batch);
            }
        }
    }
}

/// As the binder does it.
fn prepare(
    switchboard: &Switchboard,
    id: SessionId,
    request: BinderRequest,
) -> (SessionId, BinderRequest, Option<i64>, Vec<Uuid>) {
    let state = match request.step {
        Some(Step::Restore) => switchboard.restore_state(id),
        _ => None,
    };
    let digest = |text: &str| text.parse().expect("nodes are numbers here");
    match (request.step, state) {
        // The session ended, and its end is another request.
        (Some(Step::Restore), None) => (id, BinderRequest { step: None, ..request }, None, Vec::new()),
        (_, Some(state)) => (id, request, state.node.map(|node| digest(node.as_str())), state.tunnels),
        (_, None) => (id, request, switchboard.node(id).map(|node| digest(node.as_str())), Vec::new()),
    }
}
