//! One proxy: its own fold over its log, and the requests that wait.

use std::{collections::BTreeSet, sync::Arc};

use tailnet_model::{
    call::Call,
    event::{Event, Session},
    guards::Guards,
    peers::{PEERS, Peer, Peers, peers},
    wire,
};
use tailnet_proxy::{message::Wish, state::fold::Fold};

use crate::{
    request::Request,
    socket::{News, Socket},
};

/// How far a registration has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Its log is folded.
    Standing,
    /// Registered, and not listening yet.
    Registered,
    /// It has to register again.
    Doubting,
    /// The process has crashed.
    Dead,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Proxy {
    pub phase: Phase,
    /// The process does nothing for a while.
    pub stalled: bool,
    /// Copied only when it changes. Its outboxes are empty between two steps.
    fold: Arc<Fold>,
    /// By peer: those of the sessions that the fold holds.
    sockets: [Option<Socket>; PEERS],
    /// It was told that what is absent from the tables is absent.
    pub settled: bool,
    /// What is to be sent when nothing of its key is in flight.
    pub waiting: BTreeSet<(Session, Request)>,
}

impl Proxy {
    /// A proxy that is about to register.
    pub fn new() -> Self {
        Self {
            phase: Phase::Doubting,
            stalled: false,
            fold: Arc::default(),
            sockets: [None; PEERS],
            settled: false,
            waiting: BTreeSet::new(),
        }
    }

    /// A session begins.
    pub fn open(&mut self, id: Session) {
        self.fold().open(wire::session_id(id)).expect("it is the newest of its peer");
        self.sockets[usize::from(id.peer)] = Some(Socket::new(id.number));
        self.ask(id, Request::Attach);
    }

    /// It announces its next node.
    pub fn announce(&mut self, id: Session) {
        if let Some(socket) = self.socket_mut(id) {
            socket.version += 1;
            let node = socket.node();
            self.fold().announce(wire::session_id(id), wire::text(node));
            self.ask(id, Request::Bind);
        }
    }

    /// It asks for a tunnel.
    pub fn wish(&mut self, id: Session, dst: Peer) {
        if let Some(socket) = self.socket_mut(id) {
            socket.wishes.insert(dst);
            self.fold().wish(wire::session_id(id), wire::uuid(dst), Wish::Open);
            self.ask(id, Request::Open(dst));
        }
    }

    /// Its websocket ends.
    pub fn close(&mut self, id: Session, request: Request) {
        self.fold().close(wire::session_id(id));
        self.sockets[usize::from(id.peer)] = None;
        self.ask(id, request);
    }

    /// A new log. Without the guard, the fold goes on with what the pages of the old one have covered.
    pub fn begin(&mut self, guards: &Guards) {
        self.settled = false;
        if guards.coverage {
            self.fold().begin();
        } else {
            self.fold().begin_covered();
        }
        self.sessions().into_iter().for_each(|id| self.ask(id, Request::Restore));
    }

    /// Everything is gone.
    pub fn die(&mut self) {
        *self = Self { phase: Phase::Dead, ..Self::new() };
    }

    /// All sessions of the fold.
    pub fn sessions(&self) -> Vec<Session> {
        peers().filter_map(|peer| Some(Session { peer, number: self.socket(peer)?.number })).collect()
    }

    pub fn socket(&self, peer: Peer) -> Option<&Socket> {
        self.sockets[usize::from(peer)].as_ref()
    }

    /// What would be restored of a session.
    pub fn standing(&self, id: Session) -> Peers {
        let state = Fold::clone(&self.fold).restore_state(wire::session_id(id));
        state.into_iter().flat_map(|state| state.tunnels).map(wire::peer).collect()
    }

    /// Requests of one key become one.
    pub fn ask(&mut self, id: Session, request: Request) {
        let older = self.waiting.iter().copied().find(|(other, old)| *other == id && old.key() == request.key());
        let merged = older.map_or(request, |(_, old)| old.merge(request));
        older.inspect(|older| {
            self.waiting.remove(older);
        });
        self.waiting.insert((id, merged));
    }

    /// What is sent for a request; None: its session ended.
    pub fn call(&mut self, id: Session, request: Request) -> Option<Call> {
        match request {
            Request::Attach => Some(Call::Attach),
            Request::Bind => self.fold.node(wire::session_id(id)).map(|text| Call::Bind(wire::node(&text))),
            Request::Restore => self.fold().restore_state(wire::session_id(id)).map(wire::restore),
            Request::Lose => Some(Call::Lose),
            Request::Disconnect => Some(Call::Disconnect),
            Request::Open(agent) => Some(Call::Open(agent)),
            Request::Page(after) => Some(Call::Page(after)),
        }
    }

    /// The proxy learns that a call was committed.
    pub fn committed(&mut self, id: Session, call: Call) {
        if let Call::Restore { tunnels, .. } = call {
            let tunnels: Vec<_> = tunnels.iter().map(wire::uuid).collect();
            for (dst, _) in self.fold().restored(wire::session_id(id), &tunnels) {
                self.ask(id, Request::Open(wire::peer(dst)));
            }
        }
        if let (Call::Attach | Call::Restore { .. }, Some(socket)) = (call, self.socket_mut(id)) {
            socket.attached = true;
        }
    }

    /// Folds an event. A page may ask for the next one.
    pub fn apply(&mut self, event: &Event, news: &mut Vec<News>) {
        self.settled |= *event == Event::Settled;
        let next = self.fold().apply(wire::event(event));
        next.into_iter().for_each(|page| self.ask(wire::session(page.id), Request::Page(wire::peer(page.after))));
        for id in self.sessions() {
            let outbox = self.fold.outbox(wire::session_id(id)).cloned();
            let socket = &mut self.sockets[usize::from(id.peer)];
            match (outbox, &mut *socket) {
                (Some(outbox), Some(socket)) => {
                    news.extend(outbox.take().updates.iter().map(|update| socket.hear(id, update)));
                }
                _ => *socket = None,
            }
        }
    }

    fn fold(&mut self) -> &mut Fold {
        Arc::make_mut(&mut self.fold)
    }

    fn socket_mut(&mut self, id: Session) -> Option<&mut Socket> {
        self.sockets[usize::from(id.peer)].as_mut().filter(|socket| socket.number == id.number)
    }
}
