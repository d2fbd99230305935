//! Two proxies on one database, with a few peers: every step that can happen to them, in any order.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tailnet_proxy::{
    message::{Ending, Wish},
    state::switchboard::{Joined, Switchboard},
};
use tailnet_wire::SessionId;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::{
    flight::Flight,
    model::{COORDINATORS, Model, node},
    op::Op,
    socket::Socket,
};

pub const PEERS: u128 = 5;

pub struct World {
    pub model: Model,
    pub(super) proxies: [Proxy; COORDINATORS],
    pub sockets: Vec<Socket>,
    connecting: Vec<(usize, SessionId)>,
    pub(super) flights: Vec<Flight>,
}

#[derive(Default)]
pub(super) struct Proxy {
    pub(super) switchboard: Switchboard,
    /// Registered, and not listening yet.
    registering: Option<Uuid>,
    pub(super) registration: Option<Uuid>,
    /// How many messages had been written when the LISTEN connection was asked.
    asked: Option<usize>,
}

impl World {
    pub fn new(page_size: usize) -> Self {
        let mut world = Self {
            model: Model::new(page_size),
            proxies: Default::default(),
            sockets: Vec::new(),
            connecting: Vec::new(),
            flights: Vec::new(),
        };
        for at in 0..COORDINATORS {
            world.register(at);
            world.listen(at);
        }
        world
    }

    pub fn step(&mut self, op: &Op) {
        match *op {
            Op::Connect { peer, proxy } => {
                let id = self.model.authenticate(uuid(peer));
                self.connecting.push((proxy, id));
            }
            Op::Join { which } => self.join(which),
            Op::Announce { socket, node } => self.announce(socket, node),
            Op::Tunnel { socket, dst, open } => self.tunnel(socket, uuid(dst), open),
            Op::Disconnect { socket } => {
                if let Some(socket) = self.ready_socket(socket) {
                    let gone = self.remove(socket);
                    let _ = self.proxies[gone.proxy].switchboard.disconnect(gone.id);
                }
            }
            Op::Break { socket } => {
                if let Some(socket) = pick(socket, self.sockets.len()) {
                    self.lose(socket);
                }
            }
            Op::Write { socket } => {
                if let Some(socket) = pick(socket, self.sockets.len()) {
                    self.write(socket);
                }
            }
            Op::Take { proxy, role, limit } => {
                self.take(proxy, role, limit);
            }
            Op::Commit { which } => {
                if let Some(flight) = self.land(which) {
                    self.commit(flight, false);
                }
            }
            Op::Fail { which } => {
                if let Some(flight) = self.land(which) {
                    self.give_back(flight);
                }
            }
            Op::CommitAndCut { which } => {
                if let Some(flight) = self.land(which) {
                    self.commit(flight, true);
                }
            }
            Op::Deliver { proxy, messages } => self.deliver(proxy, messages),
            Op::Ask { proxy } => {
                let written = self.model.written(proxy);
                self.proxies[proxy].asked = self.proxies[proxy].registration.map(|_| written);
            }
            Op::Answer { proxy } => self.answer(proxy),
            Op::Cut { proxy } => self.doubt(proxy),
            Op::Register { proxy } => {
                self.doubt(proxy);
                self.register(proxy);
            }
            Op::Listen { proxy } => self.listen(proxy),
            Op::Beat { proxy } => self.beat(proxy),
            Op::Expire { proxy } => self.model.expire(proxy),
            Op::Revoke { src, dst } => self.model.revoke(uuid(src), uuid(dst)),
            Op::Settle => self.settle(),
            Op::Crash => {
                let tunnels = self.model.tunnels.clone();
                self.model.crash();
                self.note_what_none_will_restore(&tunnels);
                for at in 0..COORDINATORS {
                    self.doubt(at);
                    self.proxies[at].registering = None;
                }
            }
        }
    }

    /// Lets everything come to rest.
    pub fn settle(&mut self) {
        while !self.connecting.is_empty() {
            self.join(0);
        }
        loop {
            while let Some(flight) = self.land(0) {
                self.commit(flight, false);
            }
            let mut busy = false;
            for at in 0..COORDINATORS {
                self.beat(at);
                if self.proxies[at].registration.is_none() {
                    self.register(at);
                    self.listen(at);
                    busy = true;
                }
                busy |= self.model.undelivered(at) > 0;
                self.deliver(at, usize::MAX);
                for role in 0..3 {
                    busy |= self.take(at, role, 3);
                }
            }
            let open = self.sockets.len();
            for socket in (0..open).rev() {
                busy |= self.write(socket);
            }
            if !busy && open == self.sockets.len() {
                return;
            }
        }
    }

    fn join(&mut self, which: usize) {
        let Some(which) = pick(which, self.connecting.len()) else { return };
        let (proxy, id) = self.connecting.remove(which);
        // A session that is superseded after a crash, before it was restored, takes its tunnels with it.
        self.may_leave(id.peer);
        if let Some(Joined { outbox, attached }) = self.proxies[proxy].switchboard.join(id) {
            self.sockets.push(Socket {
                id,
                proxy,
                outbox,
                attached: Some(attached),
                known: BTreeMap::new(),
                announced: None,
                wished: BTreeMap::new(),
                parted: self.model.parted.clone(),
                lost: self.model.lost.clone(),
            });
        }
    }

    fn announce(&mut self, socket: usize, digest: i64) {
        let Some(socket) = self.ready_socket(socket) else { return };
        let Socket { id, proxy, .. } = self.sockets[socket];
        self.proxies[proxy].switchboard.announce(id, node(digest), permit());
        self.sockets[socket].announced = Some(digest);
    }

    fn tunnel(&mut self, socket: usize, dst: Uuid, open: bool) {
        let Some(socket) = self.ready_socket(socket) else { return };
        let Socket { id, proxy, .. } = self.sockets[socket];
        let wish = if open { Wish::Open } else { Wish::Close };
        self.proxies[proxy].switchboard.tunnel(id, dst, wish, permit());
        self.sockets[socket].wished.insert(dst, open);
        if !open {
            self.model.may_part(id.peer, dst);
        }
    }

    /// A socket whose requests are read: Postgres knows of its session.
    fn ready_socket(&mut self, socket: usize) -> Option<usize> {
        let socket = pick(socket, self.sockets.len())?;
        let attached = &mut self.sockets[socket].attached;
        if attached.as_mut().is_some_and(|waiting| waiting.try_recv().is_ok()) {
            *attached = None;
        }
        attached.is_none().then_some(socket)
    }

    fn lose(&mut self, socket: usize) {
        let gone = self.remove(socket);
        self.proxies[gone.proxy].switchboard.lose(gone.id);
    }

    fn remove(&mut self, socket: usize) -> Socket {
        let gone = self.sockets.remove(socket);
        self.may_leave(gone.id.peer);
        gone
    }

    /// A session that took over has the node and the tunnels of the one before, as long as the tables have them: it
    /// restores what it announced itself, and what its log told it.
    fn note_what_none_will_restore(&mut self, tunnels: &BTreeSet<(Uuid, Uuid)>) {
        let kept: BTreeSet<_> = self
            .sockets
            .iter()
            .filter_map(|socket| {
                Some((socket.id.peer, self.proxies[socket.proxy].switchboard.restore_state(socket.id)?))
            })
            .flat_map(|(peer, state)| state.tunnels.into_iter().map(move |dst| (peer, dst)))
            .collect();
        tunnels.difference(&kept).for_each(|(src, dst)| self.model.may_part(*src, *dst));
        // Of two sessions of a peer the newer may be the only one that comes back.
        let comes_back = |peer: &Uuid| {
            let mut own = self.sockets.iter().filter(|socket| socket.id.peer == *peer);
            own.next().is_some_and(|socket| socket.announced.is_some()) && own.next().is_none()
        };
        let gone: Vec<_> = (0..PEERS).map(uuid).filter(|peer| !comes_back(peer)).collect();
        gone.into_iter().for_each(|peer| self.may_leave(peer));
    }

    fn may_leave(&mut self, id: Uuid) {
        (0..PEERS).for_each(|peer| self.model.may_part(uuid(peer), id));
    }

    /// Whether there was something to write.
    fn write(&mut self, socket: usize) -> bool {
        let delivery = self.sockets[socket].outbox.take();
        let busy = !delivery.updates.is_empty();
        for update in delivery.updates {
            self.sockets[socket].hear(&update, &self.model);
        }
        if let Some(ending) = delivery.ending {
            assert_eq!(ending, Ending::Superseded);
            self.lose(socket);
        }
        busy
    }

    fn deliver(&mut self, at: usize, messages: usize) {
        for _ in 0..messages {
            // What a cut connection had not delivered is lost.
            let Some(events) = self.model.deliver(at) else { return };
            if self.proxies[at].registration.is_some() {
                self.proxies[at].switchboard.fold(events);
            }
        }
    }

    fn answer(&mut self, at: usize) {
        let Some(asked) = self.proxies[at].asked.take() else { return };
        let delivered = self.model.written(at) - self.model.undelivered(at);
        self.deliver(at, asked.saturating_sub(delivered));
        self.proxies[at].switchboard.mark();
    }

    fn register(&mut self, at: usize) {
        self.proxies[at].registering = Some(self.model.register(at));
    }

    fn listen(&mut self, at: usize) {
        if let Some(registration) = self.proxies[at].registering.take() {
            self.model.listen(at);
            self.proxies[at].registration = Some(registration);
            self.proxies[at].switchboard.begin(registration);
        }
    }

    fn beat(&mut self, at: usize) {
        let Some(registration) = self.proxies[at].registration else { return };
        if self.model.admit(at, registration).is_err() {
            self.doubt(at);
        } else {
            self.model.beat(at, self.proxies[at].switchboard.restoration.is_done());
        }
    }

    fn doubt(&mut self, at: usize) {
        if let Some(registration) = self.proxies[at].registration {
            self.doubt_registration(at, registration);
        }
    }

    pub(super) fn doubt_registration(&mut self, at: usize, registration: Uuid) {
        let proxy = &mut self.proxies[at];
        proxy.switchboard.readiness.doubt(registration);
        if proxy.registration == Some(registration) {
            (proxy.registration, proxy.asked) = (None, None);
            while self.model.deliver(at).is_some() {}
        }
    }
}

pub fn uuid(peer: u128) -> Uuid {
    Uuid::from_u128(0x1000 + peer % PEERS)
}

fn permit() -> Arc<tokio::sync::OwnedSemaphorePermit> {
    let permits = Arc::new(Semaphore::new(1));
    Arc::new(permits.try_acquire_owned().expect("one permit is free"))
}

pub(super) fn pick(which: usize, of: usize) -> Option<usize> {
    which.checked_rem(of)
}
