//! Opens and closes tunnels.

use tailnet_wire::SessionId;
use uuid::Uuid;

use crate::{
    batch::{batcher::Batcher, bisect::Bisect, request::TunnelerRequest},
    message::{Refused, Wish},
    postgres::{
        store::Store,
        worker::{Outcome, Worker},
    },
    state::switchboard::Switchboard,
};

#[derive(Debug, Clone)]
pub struct Tunneler;

type Entry = ((SessionId, Uuid), TunnelerRequest);

impl Worker for Tunneler {
    type Key = (SessionId, Uuid);
    type Request = TunnelerRequest;

    fn traced((id, _): &Self::Key, request: &TunnelerRequest) -> Option<(SessionId, &'static str)> {
        let name = match request.wish? {
            Wish::Open => "open tunnel",
            Wish::Close => "close tunnel",
        };
        Some((*id, name))
    }

    fn batcher(switchboard: &Switchboard) -> &Batcher<Self::Key, TunnelerRequest> {
        &switchboard.tunneler
    }

    async fn run(
        &self,
        switchboard: &Switchboard,
        store: &mut Store,
        registration: Uuid,
        batch: Vec<Entry>,
    ) -> Outcome<Self::Key, TunnelerRequest> {
        let mut outcome = Outcome::default();
        let (wishes, waits): (Vec<_>, Vec<_>) = batch.into_iter().partition(|(_, request)| request.wish.is_some());
        handshake(switchboard, waits);
        let (opens, closes): (Vec<_>, Vec<_>) =
            wishes.into_iter().partition(|(_, request)| request.wish == Some(Wish::Open));
        for (wish, entries) in [(Wish::Close, closes), (Wish::Open, opens)] {
            let mut bisect = Bisect::new([entries]);
            while let Some(chunk) = bisect.next_chunk() {
                let ends: Vec<_> = chunk.iter().map(|(end, _)| *end).collect();
                let result = match wish {
                    Wish::Open => store.open_tunnels(registration, &ends).await,
                    Wish::Close => store.close_tunnels(registration, &ends).await,
                };
                if result.is_ok() {
                    switchboard.commit(&ends, wish);
                }
                bisect.tell(chunk, result);
            }
            handshake(switchboard, bisect.done);
            for (((id, _), _), error) in bisect.refused {
                switchboard.refuse(id, Refused::Postgres(error));
            }
            outcome.failed.extend(bisect.failed);
            outcome.errors.extend(bisect.error);
        }
        outcome
    }
}

/// Sends on the handshakes that waited for these tunnels.
fn handshake(switchboard: &Switchboard, entries: Vec<Entry>) {
    for ((id, dst), request) in entries {
        if let Some(permit) = request.ready {
            switchboard.handshake_after_tunnel(id, dst, permit);
        }
    }
}
