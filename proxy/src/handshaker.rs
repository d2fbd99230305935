//! Carries ready-for-handshake to other peers.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::{
    batcher::Batcher,
    bisect::Bisect,
    hub::Hub,
    id::SessionId,
    request::{BinderRequest, HandshakerRequest, Permit, TunnelerRequest},
    store::Store,
    worker::{Outcome, Role},
};

/// The role.
#[derive(Debug, Clone)]
pub struct Handshaker;

impl Hub {
    /// A session is ready for a handshake. Goes out after the node and the tunnel that it asked for before.
    pub fn shake(&self, id: SessionId, dst: Uuid, permit: Permit) {
        // While the fold is locked, nothing is pushed that this one would have to wait for.
        let _fold = self.lock();
        if self.binder.is_busy(&id) {
            self.binder.push(id, BinderRequest { ready: BTreeMap::from([(dst, permit)]), ..BinderRequest::default() });
        } else {
            self.shake_bound(id, dst, permit);
        }
    }

    /// The same, when the node was announced.
    pub fn shake_bound(&self, id: SessionId, dst: Uuid, permit: Permit) {
        if self.tunneler.is_busy(&(id, dst)) {
            self.tunneler.push((id, dst), TunnelerRequest { ready: Some(permit), ..TunnelerRequest::default() });
        } else {
            self.shake_tunneled(id, dst, permit);
        }
    }

    /// The same, when the tunnel was opened too.
    pub fn shake_tunneled(&self, id: SessionId, dst: Uuid, permit: Permit) {
        self.handshaker.push((id, dst), HandshakerRequest { permit });
    }
}

impl Role for Handshaker {
    type Key = (SessionId, Uuid);
    type Request = HandshakerRequest;
    const NAME: &'static str = "handshaker";

    fn traced((id, _): &Self::Key, _: &HandshakerRequest) -> Option<(SessionId, &'static str)> {
        Some((*id, "handshake"))
    }

    fn batcher(hub: &Hub) -> &Batcher<Self::Key, HandshakerRequest> {
        &hub.handshaker
    }

    async fn run(
        &self,
        hub: &Hub,
        store: &mut Store,
        registration: Uuid,
        batch: Vec<(Self::Key, HandshakerRequest)>,
    ) -> Outcome<Self::Key, HandshakerRequest> {
        let mut bisect = Bisect::new([batch]);
        while let Some(chunk) = bisect.next_chunk() {
            let ends: Vec<_> = chunk.iter().map(|(end, _)| *end).collect();
            let result = store.ready_for_handshake(registration, &ends).await;
            bisect.tell(chunk, result);
        }
        for (((id, _), _), error) in bisect.refused {
            hub.refuse(id, error);
        }
        Outcome { failed: bisect.failed, errors: bisect.error.into_iter().collect() }
    }
}
