//! Opens and closes tunnels.

use uuid::Uuid;

use crate::{
    batcher::Batcher,
    bisect::Bisect,
    hub::Hub,
    id::SessionId,
    request::{Permit, TunnelerRequest},
    restoring::Restoring,
    store::Store,
    wishes::Wish,
    worker::{Outcome, Role},
};

/// The role.
#[derive(Debug, Clone)]
pub struct Tunneler;

type Entry = ((SessionId, Uuid), TunnelerRequest);

impl Hub {
    /// A session asked for a tunnel to be opened or closed.
    pub fn tunnel(&self, id: SessionId, dst: Uuid, wish: Wish, permit: Permit) {
        let mut fold = self.lock();
        if fold.wish(id, dst, wish) {
            self.tunneler.push(
                (id, dst),
                TunnelerRequest { wish: Some(wish), permit: Some(permit), ..TunnelerRequest::default() },
            );
        }
    }

    /// A session was restored with these tunnels.
    pub fn restored(&self, id: SessionId, tunnels: &[Uuid]) {
        let mut fold = self.lock();
        for (dst, wish) in fold.restored(id, tunnels) {
            self.tunneler.push((id, dst), TunnelerRequest { wish: Some(wish), ..TunnelerRequest::default() });
        }
    }

    /// Opens tunnels that a restore had no room for, unless the peer has asked to close them since.
    pub fn reopen(&self, id: SessionId, dsts: Vec<Uuid>, restoring: Option<&Restoring>) {
        let fold = self.lock();
        if !fold.holds(id) {
            return;
        }
        for dst in dsts.into_iter().filter(|dst| fold.wish_for(id, *dst) != Some(Wish::Close)) {
            let restoring = restoring.cloned();
            let open = TunnelerRequest { wish: Some(Wish::Open), restoring, ..TunnelerRequest::default() };
            self.tunneler.push((id, dst), open);
        }
    }

    /// Wishes were committed.
    pub fn commit(&self, ends: &[(SessionId, Uuid)], wish: Wish) {
        let mut fold = self.lock();
        for (id, dst) in ends {
            fold.commit(*id, *dst, wish);
        }
    }
}

impl Role for Tunneler {
    type Key = (SessionId, Uuid);
    type Request = TunnelerRequest;
    const NAME: &'static str = "tunneler";

    fn traced((id, _): &Self::Key, request: &TunnelerRequest) -> Option<(SessionId, &'static str)> {
        let name = match request.wish? {
            Wish::Open => "open tunnel",
            Wish::Close => "close tunnel",
        };
        Some((*id, name))
    }

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
