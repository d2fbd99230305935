//! Two proxies on one database, with a few peers: every step that can happen to them, in any order.

use std::{collections::BTreeMap, sync::Arc};

use tailnet_model::{
    coordinators::COORDINATORS,
    event::{Node, Session},
    peers::{Peer, Tunnels, peers},
    wire,
};
use tailnet_proxy::{
    batch::request::Proof,
    message::{Ending, Wish},
    state::switchboard::Joined,
};
use tokio::sync::Semaphore;

use crate::{database::Database, flight::Flight, op::Op, proxy::Proxy, socket::Socket};

pub struct World {
    pub database: Database,
    proxies: [Proxy; COORDINATORS],
    pub sockets: Vec<Socket>,
    connecting: Vec<(usize, Session)>,
    flights: Vec<Flight>,
}

impl World {
    pub fn new(page_size: usize) -> Self {
        let mut world = Self {
            database: Database::new(page_size),
            proxies: Default::default(),
            sockets: Vec::new(),
            connecting: Vec::new(),
            flights: Vec::new(),
        };
        for (at, proxy) in world.proxies.iter_mut().enumerate() {
            proxy.register(at, &mut world.database);
            proxy.listen(at, &mut world.database);
        }
        world
    }

    pub fn step(&mut self, op: &Op) {
        match *op {
            Op::Connect { peer, proxy } => {
                let id = self.database.authenticate(peer);
                self.connecting.push((proxy, id));
            }
            Op::Join { which } => self.join(which),
            Op::Announce { socket, node } => self.announce(socket, node),
            Op::Tunnel { socket, dst, open } => self.tunnel(socket, dst, open),
            Op::Disconnect { socket } => {
                if let Some(socket) = self.ready_socket(socket) {
                    let gone = self.remove(socket);
                    let _ = self.proxies[gone.proxy].switchboard.disconnect(wire::session_id(gone.id));
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
            Op::Take { proxy, worker, limit } => {
                self.take(proxy, worker, limit);
            }
            Op::Commit { which } => {
                if let Some(flight) = self.land(which) {
                    self.commit(flight, false);
                }
            }
            Op::Fail { which } => {
                if let Some(flight) = self.land(which) {
                    let proxy = flight.proxy;
                    flight.give_back(&self.proxies[proxy].switchboard);
                }
            }
            Op::CommitAndCut { which } => {
                if let Some(flight) = self.land(which) {
                    self.commit(flight, true);
                }
            }
            Op::Deliver { proxy, messages } => self.proxies[proxy].deliver(proxy, messages, &mut self.database),
            Op::Ask { proxy } => self.proxies[proxy].ask(proxy, &self.database),
            Op::Answer { proxy } => self.proxies[proxy].answer(proxy, &mut self.database),
            Op::Cut { proxy } => self.proxies[proxy].doubt(proxy, &mut self.database),
            Op::Register { proxy } => {
                self.proxies[proxy].doubt(proxy, &mut self.database);
                self.proxies[proxy].register(proxy, &mut self.database);
            }
            Op::Listen { proxy } => self.proxies[proxy].listen(proxy, &mut self.database),
            Op::Beat { proxy } => self.proxies[proxy].beat(proxy, &mut self.database),
            Op::Expire { proxy } => self.database.expire(proxy),
            Op::Revoke { src, dst } => self.database.revoke(src, dst),
            Op::Settle => self.settle(),
            Op::Crash => {
                let tunnels = self.database.tables.tunnels;
                self.database.crash();
                self.note_what_none_will_restore(tunnels);
                for (at, proxy) in self.proxies.iter_mut().enumerate() {
                    proxy.doubt(at, &mut self.database);
                    proxy.registering = None;
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
                let (proxy, database) = (&mut self.proxies[at], &mut self.database);
                proxy.beat(at, database);
                if proxy.registration.is_none() {
                    proxy.register(at, database);
                    proxy.listen(at, database);
                    busy = true;
                }
                busy |= database.undelivered(at) > 0;
                proxy.deliver(at, usize::MAX, database);
                for worker in 0..3 {
                    busy |= self.take(at, worker, 3);
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

    /// Whether there was something to take.
    fn take(&mut self, at: usize, worker: usize, limit: usize) -> bool {
        let proxy = &self.proxies[at];
        let flight = proxy
            .registration
            .and_then(|registration| Flight::take(&proxy.switchboard, at, registration, worker, limit));
        let found = flight.is_some();
        self.flights.extend(flight);
        found
    }

    fn land(&mut self, which: usize) -> Option<Flight> {
        pick(which, self.flights.len()).map(|which| self.flights.remove(which))
    }

    /// A batch is committed, unless its registration has ended. With a cut the proxy does not learn so.
    fn commit(&mut self, flight: Flight, cut: bool) {
        let (at, registration) = (flight.proxy, flight.registration);
        let admitted = self.database.admit(at, registration).is_ok();
        if admitted {
            flight.calls().into_iter().for_each(|(id, call)| self.database.run(at, wire::session(id), call));
        }
        let proxy = &mut self.proxies[at];
        if admitted && !cut {
            flight.finish(&proxy.switchboard);
        } else {
            flight.give_back(&proxy.switchboard);
            proxy.doubt_registration(at, registration, &mut self.database);
        }
    }

    fn join(&mut self, which: usize) {
        let Some(which) = pick(which, self.connecting.len()) else { return };
        let (proxy, id) = self.connecting.remove(which);
        // A session that is superseded after a crash, before it was restored, takes its tunnels with it.
        self.may_leave(id.peer);
        if let Some(Joined { outbox, attached }) =
            self.proxies[proxy].switchboard.join(wire::session_id(id), Proof::default(), None)
        {
            self.sockets.push(Socket {
                id,
                proxy,
                outbox,
                attached: Some(attached),
                known: BTreeMap::new(),
                announced: None,
                wished: BTreeMap::new(),
                parted: self.database.parted.clone(),
                lost: self.database.lost,
            });
        }
    }

    fn announce(&mut self, socket: usize, version: u8) {
        let Some(socket) = self.ready_socket(socket) else { return };
        let Socket { id, proxy, .. } = self.sockets[socket];
        self.proxies[proxy].switchboard.announce(wire::session_id(id), wire::text(node(version)), permit());
        self.sockets[socket].announced = Some(version);
    }

    fn tunnel(&mut self, socket: usize, dst: Peer, open: bool) {
        let Some(socket) = self.ready_socket(socket) else { return };
        let Socket { id, proxy, .. } = self.sockets[socket];
        let wish = if open { Wish::Open } else { Wish::Close };
        self.proxies[proxy].switchboard.tunnel(wire::session_id(id), wire::uuid(dst), wish, permit());
        self.sockets[socket].wished.insert(dst, open);
        if !open {
            self.database.may_part(id.peer, dst);
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
        self.proxies[gone.proxy].switchboard.lose(wire::session_id(gone.id));
    }

    fn remove(&mut self, socket: usize) -> Socket {
        let gone = self.sockets.remove(socket);
        self.may_leave(gone.id.peer);
        gone
    }

    /// A session that took over has the node and the tunnels of the one before, as long as the tables have them: it
    /// restores what it announced itself, and what its log told it.
    fn note_what_none_will_restore(&mut self, tunnels: Tunnels) {
        let mut kept = Tunnels::default();
        for socket in &self.sockets {
            let state = self.proxies[socket.proxy].switchboard.restore_state(wire::session_id(socket.id));
            for dst in state.into_iter().flat_map(|state| state.tunnels) {
                kept.insert(socket.id.peer, wire::peer(dst));
            }
        }
        for (src, dst) in peers().flat_map(|src| peers().map(move |dst| (src, dst))) {
            if tunnels.contains(src, dst) && !kept.contains(src, dst) {
                self.database.may_part(src, dst);
            }
        }
        // Of two sessions of a peer the newer may be the only one that comes back.
        let comes_back = |peer: &Peer| {
            let mut own = self.sockets.iter().filter(|socket| socket.id.peer == *peer);
            own.next().is_some_and(|socket| socket.announced.is_some()) && own.next().is_none()
        };
        let gone: Vec<_> = peers().filter(|peer| !comes_back(peer)).collect();
        gone.into_iter().for_each(|peer| self.may_leave(peer));
    }

    fn may_leave(&mut self, gone: Peer) {
        peers().for_each(|peer| self.database.may_part(peer, gone));
    }

    /// Whether there was something to write.
    fn write(&mut self, socket: usize) -> bool {
        let delivery = self.sockets[socket].outbox.take();
        let busy = !delivery.updates.is_empty();
        for update in delivery.updates {
            self.sockets[socket].hear(&update, &self.database);
        }
        if let Some(ending) = delivery.ending {
            assert_eq!(ending, Ending::Superseded);
            self.lose(socket);
        }
        busy
    }
}

/// Two sessions may announce the same.
pub fn node(version: u8) -> Node {
    Node { session: 0, version }
}

fn permit() -> Arc<tokio::sync::OwnedSemaphorePermit> {
    let permits = Arc::new(Semaphore::new(1));
    Arc::new(permits.try_acquire_owned().expect("one permit is free"))
}

fn pick(which: usize, of: usize) -> Option<usize> {
    which.checked_rem(of)
}
