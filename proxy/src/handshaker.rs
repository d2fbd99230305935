//! Carries ready-for-handshake to other peers.

use uuid::Uuid;

use crate::{
    batcher::Batcher,
    bisect::Bisect,
    hub::Hub,
    id::SessionId,
    request::HandshakerRequest,
    store::Store,
    worker::{Outcome, Role},
};

/// The role.
#[derive(Debug, Clone)]
pub struct Handshaker;

impl Role for Handshaker {
    type Key = (SessionId, Uuid);
    type Request = HandshakerRequest;
    const NAME: &'static str = "handshaker";

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
