//! Batches that workers have taken, and what becomes of them.

use std::time::Duration;

use futures_util::FutureExt as _;
use tailnet_model::{call::Call, wire};
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

/// A batch in flight.
pub struct Flight {
    pub proxy: usize,
    pub registration: Uuid,
    work: Work,
}

enum Work {
    /// With what was read when it was taken.
    Binder(Vec<(SessionId, BinderRequest, Option<Call>)>),
    Tunneler(Vec<((SessionId, Uuid), TunnelerRequest)>),
    Querier(Vec<(Question, QuerierRequest)>),
}

impl Flight {
    /// What a worker takes; None: nothing waits for it.
    pub fn take(
        switchboard: &Switchboard,
        proxy: usize,
        registration: Uuid,
        worker: usize,
        limit: usize,
    ) -> Option<Self> {
        let batching = Batching { limit, linger: Duration::ZERO, least: Duration::ZERO, most: Duration::ZERO };
        let work = match worker {
            0 => {
                let batch = switchboard.binder.take(batching).now_or_never()?;
                Work::Binder(batch.into_iter().map(|(id, request)| prepare(switchboard, id, request)).collect())
            }
            1 => Work::Tunneler(switchboard.tunneler.take(batching).now_or_never()?),
            _ => Work::Querier(switchboard.querier.take(batching).now_or_never()?),
        };
        Some(Self { proxy, registration, work })
    }

    /// What it asks of the extension.
    pub fn calls(&self) -> Vec<(SessionId, Call)> {
        match &self.work {
            Work::Binder(batch) => batch.iter().filter_map(|(id, _, call)| Some((*id, (*call)?))).collect(),
            Work::Tunneler(batch) => {
                let call = |wish, dst| match wish {
                    Wish::Open => Call::Open(dst),
                    Wish::Close => Call::Close(dst),
                };
                let wish = |request: &TunnelerRequest| request.wish.expect("no handshakes here");
                batch.iter().map(|((id, dst), request)| (*id, call(wish(request), wire::peer(*dst)))).collect()
            }
            Work::Querier(batch) => {
                let page = |(question, request): &(Question, QuerierRequest)| match (question, request) {
                    (Question::Page(id), QuerierRequest::Page { after }) => (*id, Call::Page(wire::peer(*after))),
                    _ => unreachable!("no tokens here"),
                };
                batch.iter().map(page).collect()
            }
        }
    }

    /// It is committed, and the proxy learns so.
    pub fn finish(self, switchboard: &Switchboard) {
        match self.work {
            Work::Binder(batch) => {
                let ids: Vec<_> = batch.iter().map(|(id, ..)| *id).collect();
                for (id, request, call) in batch {
                    if let Some(Call::Restore { tunnels, .. }) = call {
                        switchboard.restored(id, &tunnels.iter().map(wire::uuid).collect::<Vec<_>>());
                    }
                    for done in request.done {
                        let _ = done.send(());
                    }
                }
                switchboard.binder.finish(ids, Vec::new());
            }
            Work::Tunneler(batch) => {
                for (end, request) in &batch {
                    switchboard.commit(&[*end], request.wish.expect("no handshakes here"));
                }
                switchboard.tunneler.finish(batch.into_iter().map(|(end, _)| end), Vec::new());
            }
            Work::Querier(batch) => {
                switchboard.querier.finish(batch.into_iter().map(|(question, _)| question), Vec::new());
            }
        }
    }

    /// It is to be tried again.
    pub fn give_back(self, switchboard: &Switchboard) {
        match self.work {
            Work::Binder(batch) => {
                let failed: Vec<_> = batch.into_iter().map(|(id, request, _)| (id, request)).collect();
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
) -> (SessionId, BinderRequest, Option<Call>) {
    let call = match request.step {
        Some(Step::Attach) => Some(Call::Attach),
        Some(Step::Bind) => switchboard.node(id).map(|node| Call::Bind(wire::node(&node))),
        Some(Step::Restore) => switchboard.restore_state(id).map(wire::restore),
        Some(Step::Lose) => Some(Call::Lose),
        Some(Step::Disconnect) => Some(Call::Disconnect),
        None => None,
    };
    // The session ended before it was restored, and its end is another request.
    let step = request.step.filter(|step| *step != Step::Restore || call.is_some());
    (id, BinderRequest { step, ..request }, call)
}
