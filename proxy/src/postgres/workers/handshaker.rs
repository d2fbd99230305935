//! Carries ready-for-handshake to other peers.

use tailnet_wire::SessionId;
use uuid::Uuid;

use crate::{
    batch::{batcher::Batcher, bisect::Bisect, request::HandshakerRequest},
    message::Refused,
    postgres::{
        store::Store,
        worker::{Outcome, Worker},
    },
    state::switchboard::Switchboard,
};

#[derive(Debug, Clone)]
pub struct Handshaker;

impl Worker for Handshaker {
    type Key = (SessionId, Uuid);
    type Request = HandshakerRequest;

    fn traced((id, _): &Self::Key, _: &HandshakerRequest) -> Option<(SessionId, &'static str)> {
        Some((*id, "handshake"))
    }

    fn batcher(switchboard: &Switchboard) -> &Batcher<Self::Key, HandshakerRequest> {
        &switchboard.handshaker
    }

    async fn run(
        &self,
        switchboard: &Switchboard,
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
            switchboard.refuse(id, Refused::Postgres(error));
        }
        Outcome { failed: bisect.failed, errors: bisect.error.into_iter().collect() }
    }
}
