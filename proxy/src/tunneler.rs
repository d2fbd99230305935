//! Opens and closes tunnels.

use uuid::Uuid;

use crate::{
    batcher::Batcher,
    bisect::Bisect,
    hub::Hub,
    id::SessionId,
    request::TunnelerRequest,
    store::Store,
    wishes::Wish,
    worker::{Outcome, Role},
};

/// The role.
#[derive(Debug, Clone)]
pub struct Tunneler;

type Entry = ((SessionId, Uuid), TunnelerRequest);

impl Role for Tunneler {
    type Key = (SessionId, Uuid);
    type Request = TunnelerRequest;
    const NAME: &'static str = "tunneler";

    fn batcher(hub: &Hub) -> &Batcher<Self::Key, TunnelerRequest> {
        &hub.tunneler
    }

    async fn run(
        &self,
        hub: &Hub,
        store: &mut Store,
        registration: Uuid,
        batch: Vec<Entry>,
    ) -> Outcome<Self::Key, TunnelerRequest> {
        let mut outcome = Outcome::default();
        let (wishes, waits): (Vec<_>, Vec<_>) = batch.into_iter().partition(|(_, request)| request.wish.is_some());
        shake(hub, waits);
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
                    hub.commit(&ends, wish);
                }
                bisect.tell(chunk, result);
            }
            shake(hub, bisect.done);
            for (((id, _), _), error) in bisect.refused {
                hub.refuse(id, error);
            }
            outcome.failed.extend(bisect.failed);
            outcome.errors.extend(bisect.error);
        }
        outcome
    }
}

/// The handshakes that waited for the tunnels.
fn shake(hub: &Hub, entries: Vec<Entry>) {
    for ((id, dst), request) in entries {
        if let Some(permit) = request.ready {
            hub.shake_tunneled(id, dst, permit);
        }
    }
}
