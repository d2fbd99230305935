//! Opens, restores, announces and ends sessions.

use tailnet_wire::{Node, SessionId, limits::MAX_BATCH};
use uuid::Uuid;

use crate::{
    batch::{
        batcher::Batcher,
        bisect::Bisect,
        request::{BinderRequest, Proof, Step},
    },
    message::Refused,
    postgres::{
        store::Store,
        store_error::StoreError,
        worker::{Outcome, Worker},
    },
    state::switchboard::Switchboard,
};

#[derive(Debug, Clone)]
pub struct Binder;

/// A request with what is to be written for it.
#[derive(Debug)]
struct Entry {
    id: SessionId,
    request: BinderRequest,
    /// The only peer that the session may have a tunnel to.
    only: Option<Uuid>,
    node: Option<Node>,
    tunnels: Vec<Uuid>,
    /// Tunnels for which the call has no room.
    overflow: Vec<Uuid>,
}

impl Worker for Binder {
    type Key = SessionId;
    type Request = BinderRequest;

    fn traced(id: &SessionId, request: &BinderRequest) -> Option<(SessionId, &'static str)> {
        Some((*id, request.step?.name()))
    }

    fn batcher(switchboard: &Switchboard) -> &Batcher<SessionId, BinderRequest> {
        &switchboard.binder
    }

    async fn run(
        &self,
        switchboard: &Switchboard,
        store: &mut Store,
        registration: Uuid,
        batch: Vec<(SessionId, BinderRequest)>,
    ) -> Outcome<SessionId, BinderRequest> {
        let mut outcome = Outcome::default();
        let mut by_step: [(Step, Vec<Entry>); 5] =
            [Step::Attach, Step::Restore, Step::Bind, Step::Disconnect, Step::Lose].map(|step| (step, Vec::new()));
        for (id, request) in batch {
            let Some(entry) = prepare(switchboard, id, request) else { continue };
            match entry.request.step {
                Some(step) => {
                    let place = by_step.iter_mut().find(|(other, _)| *other == step);
                    place.expect("all steps are listed").1.push(entry);
                }
                None => finish(switchboard, entry),
            }
        }
        for (step, entries) in by_step {
            let mut bisect = Bisect::new(calls(entries));
            while let Some(chunk) = bisect.next_chunk() {
                let result = call(store, registration, step, &chunk).await;
                bisect.tell(chunk, result);
            }
            bisect.done.into_iter().for_each(|entry| finish(switchboard, entry));
            for (entry, error) in bisect.refused {
                switchboard.refuse(entry.id, Refused::Postgres(error));
            }
            outcome.failed.extend(bisect.failed.into_iter().map(|entry| (entry.id, entry.request)));
            outcome.errors.extend(bisect.error);
        }
        outcome
    }
}

/// Reads what is to be written, now, so that it is the latest. None: the session ended, and another request ends it.
fn prepare(switchboard: &Switchboard, id: SessionId, request: BinderRequest) -> Option<Entry> {
    let mut entry = Entry { id, request, only: None, node: None, tunnels: Vec::new(), overflow: Vec::new() };
    match entry.request.step {
        Some(Step::Attach) => {
            let (proof, only) = switchboard.admission(id)?;
            (entry.request.proof, entry.only) = (Some(proof), only);
        }
        Some(Step::Bind) => entry.node = Some(switchboard.node(id)?),
        Some(Step::Restore) => {
            let state = switchboard.restore_state(id)?;
            (entry.request.proof, entry.only) = (Some(state.proof), state.only);
            (entry.node, entry.tunnels) = (state.node, state.tunnels);
            entry.overflow = entry.tunnels.split_off(entry.tunnels.len().min(MAX_BATCH));
        }
        Some(Step::Lose | Step::Disconnect) | None => {}
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
            Some(call) if tunnels <= MAX_BATCH => call.push(entry),
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
    let proofs =
        || entries.iter().map(|entry| entry.request.proof.as_ref().map_or("", Proof::as_str)).collect::<Vec<_>>();
    let only = || entries.iter().map(|entry| entry.only).collect::<Vec<_>>();
    let nodes = || entries.iter().map(|entry| entry.node.as_ref().map(Node::as_str));
    match step {
        Step::Attach => store.attach_peers(registration, &ids, &proofs(), &only()).await,
        Step::Bind => {
            let nodes: Vec<_> = nodes().map(|node| node.expect("prepared with a node")).collect();
            store.bind_peers(registration, &ids, &nodes).await
        }
        Step::Restore => {
            let tunnels: Vec<_> = entries.iter().flat_map(|e| e.tunnels.iter().map(|dst| (e.id.peer, *dst))).collect();
            store.restore_peers(registration, &ids, &proofs(), &nodes().collect::<Vec<_>>(), &tunnels, &only()).await
        }
        Step::Lose => store.lose_peers(registration, &ids).await,
        Step::Disconnect => store.disconnect_peers(registration, &ids, &proofs()).await,
    }
}

fn finish(switchboard: &Switchboard, entry: Entry) {
    if entry.request.step == Some(Step::Restore) {
        switchboard.restored(entry.id, &entry.tunnels);
    }
    if !entry.overflow.is_empty() {
        switchboard.reopen(entry.id, entry.overflow, entry.request.restoring.as_ref());
    }
    for (dst, permit) in entry.request.ready {
        switchboard.handshake_after_node(entry.id, dst, permit);
    }
    for done in entry.request.done {
        // The receiver may be gone.
        let _ = done.send(());
    }
}
