//! Batches that workers have taken, and what becomes of them.

use std::time::Duration;

use futures_util::FutureExt as _;
use tailnet_proxy::{
    batcher::Batching,
    hub::Hub,
    id::SessionId,
    request::{BinderRequest, QuerierRequest, Question, Step, TunnelerRequest},
    wishes::Wish,
};
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
        let hub = &proxy.hub;
        let batching = Batching { limit, linger: Duration::ZERO, pace: Duration::ZERO };
        let work =
            match role {
                0 => hub.binder.take(batching).now_or_never().map(|batch| {
                    Work::Binder(batch.into_iter().map(|(id, request)| prepare(hub, id, request)).collect())
                }),
                1 => hub.tunneler.take(batching).now_or_never().map(Work::Tunneler),
                _ => hub.querier.take(batching).now_or_never().map(Work::Querier),
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
        let hub = &self.proxies[flight.proxy].hub;
        match flight.work {
            Work::Binder(batch) => {
                let ids: Vec<_> = batch.iter().map(|(id, ..)| *id).collect();
                for (id, request, _, tunnels) in &batch {
                    if request.step == Some(Step::Restore) {
                        hub.restored(*id, tunnels);
                    }
                }
                batch.into_iter().flat_map(|(_, request, ..)| request.done).for_each(|done| {
                    let _ = done.send(());
                });
                hub.binder.finish(ids, Vec::new());
            }
            Work::Tunneler(batch) => {
                for (end, request) in &batch {
                    hub.commit(&[*end], request.wish.expect("no handshakes here"));
                }
                hub.tunneler.finish(batch.into_iter().map(|(end, _)| end), Vec::new());
            }
            Work::Querier(batch) => hub.querier.finish(batch.into_iter().map(|(question, _)| question), Vec::new()),
        }
    }

    pub(super) fn give_back(&mut self, flight: Flight) {
        let hub = &self.proxies[flight.proxy].hub;
        match flight.work {
            Work::Binder(batch) => {
                let failed: Vec<_> = batch.into_iter().map(|(id, request, ..)| (id, request)).collect();
                hub.binder.finish(failed.iter().map(|(id, _)| *id).collect::<Vec<_>>(), failed);
            }
            Work::Tunneler(batch) => {
                hub.tunneler.finish(batch.iter().map(|(end, _)| *end).collect::<Vec<_>>(), batch);
            }
            Work::Querier(batch) => {
                hub.querier.finish(batch.iter().map(|(question, _)| *question).collect::<Vec<_>>(), batch);
            }
        }
    }
}

/// As the binder does it.
fn prepare(hub: &Hub, id: SessionId, request: BinderRequest) -> (SessionId, BinderRequest, Option<i64>, Vec<Uuid>) {
    let standing = match request.step {
        Some(Step::Restore) => hub.standing(id),
        _ => None,
    };
    let digest = |text: &str| text.parse().expect("nodes are numbers here");
    match (request.step, standing) {
        // The session ended, and its end is another request.
        (Some(Step::Restore), None) => (id, BinderRequest { step: None, ..request }, None, Vec::new()),
        (_, Some(standing)) => (id, request, standing.node.map(|node| digest(node.get())), standing.tunnels),
        (_, None) => (id, request, hub.node(id).map(|node| digest(node.get())), Vec::new()),
    }
}
