//! Opens, restores, announces and ends sessions.

use std::sync::Arc;

use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{
    batcher::Batcher,
    bisect::Bisect,
    hub::Hub,
    id::SessionId,
    request::{BinderRequest, Step},
    store::{Store, StoreError},
    worker::{Outcome, Role},
};

/// The most tunnels in a call that restores sessions; the extension takes no longer arrays.
const MAX_TUNNELS: usize = 4096;

/// The role.
#[derive(Debug, Clone)]
pub struct Binder;

/// A request with what is to be written for it.
#[derive(Debug)]
struct Entry {
    id: SessionId,
    request: BinderRequest,
    node: Option<Arc<RawValue>>,
    tunnels: Vec<Uuid>,
    /// Tunnels that no call has room for.
    overflow: Vec<Uuid>,
}

impl Role for Binder {
    type Key = SessionId;
    type Request = BinderRequest;
    const NAME: &'static str = "binder";

    fn traced(id: &SessionId, request: &BinderRequest) -> Option<(SessionId, &'static str)> {
        Some((*id, request.step?.name()))
    }

    fn batcher(hub: &Hub) -> &Batcher<SessionId, BinderRequest> {
        &hub.binder
    }

    async fn run(
        &self,
        hub: &Hub,
        store: &mut Store,
        registration: Uuid,
        batch: Vec<(SessionId, BinderRequest)>,
    ) -> Outcome<SessionId, BinderRequest> {
        let mut outcome = Outcome::default();
        let mut by_step: [(Step, Vec<Entry>); 5] =
            [Step::Attach, Step::Restore, Step::Bind, Step::Disconnect, Step::Lose].map(|step| (step, Vec::new()));
        for (id, request) in batch {
            let Some(entry) = prepare(hub, id, request) else { continue };
            match entry.request.step {
                Some(step) => {
                    let place = by_step.iter_mut().find(|(other, _)| *other == step);
                    place.expect("all steps are listed").1.push(entry);
                }
                None => finish(hub, entry),
            }
        }
        for (step, entries) in by_step {
            let mut bisect = Bisect::new(calls(entries));
            while let Some(chunk) = bisect.next_chunk() {
                let result = call(store, registration, step, &chunk).await;
                bisect.tell(chunk, result);
            }
            bisect.done.into_iter().for_each(|entry| finish(hub, entry));
            for (entry, error) in bisect.refused {
                hub.refuse(entry.id, error);
            }
            outcome.failed.extend(bisect.failed.into_iter().map(|entry| (entry.id, entry.request)));
            outcome.errors.extend(bisect.error);
        }
        outcome
    }
}

/// Reads what is to be written now, so that it is the latest; None: the session ended, and its end is another request.
fn prepare(hub: &Hub, id: SessionId, request: BinderRequest) -> Option<Entry> {
    let mut entry = Entry { id, request, node: None, tunnels: Vec::new(), overflow: Vec::new() };
    match entry.request.step {
        Some(Step::Bind) => entry.node = Some(hub.node(id)?),
        Some(Step::Restore) => {
            let standing = hub.standing(id)?;
            (entry.node, entry.tunnels) = (standing.node, standing.tunnels);
            entry.overflow = entry.tunnels.split_off(entry.tunnels.len().min(MAX_TUNNELS));
        }
        Some(Step::Attach | Step::Lose | Step::Disconnect) | None => {}
    }
    Some(entry)
}

/// Cuts entries into calls that the extension takes.
fn calls(entries: Vec<Entry>) -> Vec<Vec<Entry>> {
    let mut calls: Vec<Vec<Entry>> = Vec::new();
    let mut tunnels = 0;
    for entry in entries {
        tunnels += entry.tunnels.len();
        match calls.last_mut() {
            Some(call) if tunnels <= MAX_TUNNELS => call.push(entry),
            _ => {
                tunnels = entry.tunnels.len();
                calls.push(vec![entry]);
            }
        }
    }
    calls
}

async fn call(store: &mut Store, registration: Uuid, step: Step, entries: &[Entry]) -> Result<(), StoreError> {
    let ids: Vec<_> = entries.iter().map(|entry| entry.id).collect();
    let nodes = || entries.iter().map(|entry| entry.node.as_ref().map(|node| node.get()));
    match step {
        Step::Attach => store.attach_peers(registration, &ids).await,
        Step::Bind => {
            let nodes: Vec<_> = nodes().map(|node| node.expect("prepared with a node")).collect();
            store.bind_peers(registration, &ids, &nodes).await
        }
        Step::Restore => {
            let tunnels: Vec<_> = entries.iter().flat_map(|e| e.tunnels.iter().map(|dst| (e.id.peer, *dst))).collect();
            store.restore_peers(registration, &ids, &nodes().collect::<Vec<_>>(), &tunnels).await
        }
        Step::Lose => store.lose_peers(registration, &ids).await,
        Step::Disconnect => store.disconnect_peers(registration, &ids).await,
    }
}

fn finish(hub: &Hub, entry: Entry) {
    if entry.request.step == Some(Step::Restore) {
        hub.restored(entry.id, &entry.tunnels);
    }
    if !entry.overflow.is_empty() {
        hub.reopen(entry.id, entry.overflow, entry.request.restoring.as_ref());
    }
    for (dst, permit) in entry.request.ready {
        hub.shake_bound(entry.id, dst, permit);
    }
    for done in entry.request.done {
        // Who waited may be gone.
        let _ = done.send(());
    }
}
