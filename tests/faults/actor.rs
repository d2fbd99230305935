//! The work of one peer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rand::{RngExt as _, rngs::StdRng, seq::IndexedRandom as _};
use tailnet_tools::checking::{LightPeer, light_peer::Door, received::Word};
use tailnet_wire::Role;
use tokio::{sync::watch, time::sleep};
use uuid::Uuid;

/// The pause between two actions, in milliseconds.
const PACE: std::ops::Range<u64> = 100..1500;

/// How long a peer tries to connect before it looks again whether it shall work or rest.
const TRY: Duration = Duration::from_secs(1);

/// A peer that works at random.
#[derive(Debug)]
pub struct Actor {
    peer: LightPeer,
    id: Uuid,
    role: Role,
    /// The peers to which it opens tunnels.
    targets: Vec<Uuid>,
    version: u64,
    rng: StdRng,
    work: watch::Receiver<bool>,
    doors: watch::Receiver<Vec<Door>>,
}

impl Actor {
    /// It works while `work` is true, on any of the proxies.
    pub fn new(
        peer: LightPeer,
        targets: Vec<Uuid>,
        rng: StdRng,
        work: watch::Receiver<bool>,
        doors: watch::Receiver<Vec<Door>>,
    ) -> Self {
        let (id, role) = {
            let account = peer.account();
            (account.identity.id, account.identity.role)
        };
        Self { peer, id, role, targets, version: 0, rng, work, doors }
    }

    /// Works and rests until `work` has no sender any more. `working` counts the peers that work.
    pub async fn run(mut self, working: Arc<AtomicUsize>) {
        let mut works = false;
        let watched = Arc::clone(self.peer.watched());
        loop {
            let is_to_work = *self.work.borrow_and_update();
            if is_to_work && !works {
                works = true;
                working.fetch_add(1, Ordering::AcqRel);
            }
            let changed = if is_to_work {
                let pause = Duration::from_millis(self.rng.random_range(PACE));
                tokio::select! {
                    changed = self.work.changed() => changed,
                    () = watched.closed.notified() => Ok(()),
                    () = sleep(pause) => { self.act().await; Ok(()) }
                }
            } else {
                if self.is_missing() && !self.come_back().await {
                    continue;
                }
                if works {
                    works = false;
                    working.fetch_sub(1, Ordering::AcqRel);
                }
                tokio::select! {
                    changed = self.work.changed() => changed,
                    () = watched.closed.notified() => Ok(()),
                }
            };
            if changed.is_err() {
                return;
            }
        }
    }

    /// Whether it lost its websocket and wants another.
    fn is_missing(&self) -> bool {
        let account = self.peer.account();
        account.wants_socket && account.proxy.is_none()
    }

    /// Whether it is connected again.
    async fn come_back(&mut self) -> bool {
        if self.peer.connect_any(&self.doors, &mut self.rng, TRY).await.is_err() {
            return false;
        }
        match self.targets.choose(&mut self.rng).copied() {
            Some(dst) if self.rng.random_bool(0.5) => self.announce_and_open(dst).await,
            _ if self.rng.random_bool(0.9) => self.announce().await,
            _ => {}
        }
        true
    }

    async fn act(&mut self) {
        if !self.peer.is_connected() {
            if self.is_missing() || self.rng.random_bool(0.4) {
                self.come_back().await;
            }
            return;
        }
        match self.rng.random_range(0..100) {
            0..34 => self.announce().await,
            34..66 => match self.targets.choose(&mut self.rng).copied() {
                Some(dst) if self.rng.random_bool(0.2) => self.announce_and_open(dst).await,
                Some(dst) => self.peer.open(dst).await,
                None => self.announce().await,
            },
            66..74 => {
                let open: Vec<Uuid> = self.peer.account().open_tunnels().collect();
                match open.choose(&mut self.rng) {
                    Some(dst) => self.peer.close(*dst).await,
                    None => self.announce().await,
                }
            }
            74..84 => self.shake().await,
            84..89 => {
                // The websocket that stands is superseded.
                if self.peer.connect_any(&self.doors, &mut self.rng, Duration::ZERO).await.is_ok()
                    && self.rng.random_bool(0.8)
                {
                    self.announce().await;
                }
            }
            89..94 => self.peer.vanish().await,
            94..98 => self.peer.disconnect().await,
            _ => self.vanish_after_a_word().await,
        }
    }

    /// Announces a new node, or seldom the last one again.
    async fn announce(&mut self) {
        if self.version == 0 || self.rng.random_bool(0.9) {
            self.version += 1;
        }
        self.peer.announce(self.version).await;
    }

    async fn announce_and_open(&mut self, dst: Uuid) {
        self.version += 1;
        self.peer.announce_and_open(self.version, dst).await;
    }

    async fn shake(&mut self) {
        if self.role == Role::Client {
            return self.announce().await;
        }
        let known: Vec<Uuid> = {
            let account = self.peer.account();
            let words = account.received.words().filter(|(_, word)| matches!(word, Word::Node(_)));
            words.map(|(id, _)| *id).filter(|id| *id != self.id).take(3).collect()
        };
        self.peer.ready(&known).await;
    }

    /// The proxy may read its last requests after the websocket has ended.
    async fn vanish_after_a_word(&mut self) {
        self.announce().await;
        if let Some(dst) = self.targets.choose(&mut self.rng).copied() {
            self.peer.open(dst).await;
        }
        self.peer.vanish().await;
    }
}
