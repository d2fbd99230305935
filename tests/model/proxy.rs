//! One proxy: a fold over its log, and the requests that wait. Follows `proxy/src/{fold,batcher}.rs`.

use std::collections::BTreeSet;

use crate::{
    call::{Call, Request},
    event::{Binding, CLIENT, END, Event, PEERS, Peer, Session, peers},
    guards::Guards,
    local::{Local, News},
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

/// The state of a proxy.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Proxy {
    /// How far its registration has come.
    pub phase: Phase,
    /// The process does nothing for a while.
    pub stalled: bool,
    /// By peer.
    pub locals: [Option<Local>; PEERS],
    /// What is absent from the tables is absent.
    pub settled: bool,
    /// What is to be sent when nothing of its key is in flight.
    pub waiting: BTreeSet<(Session, Request)>,
}

impl Proxy {
    /// A proxy that is about to register.
    pub fn new() -> Self {
        Self { phase: Phase::Doubting, stalled: false, locals: [None; PEERS], settled: false, waiting: BTreeSet::new() }
    }

    /// `Fold::open`.
    pub fn open(&mut self, id: Session) {
        self.locals[usize::from(id.peer)] = Some(Local::new(id.number));
        self.ask(id, Request::Attach);
    }

    /// `Fold::begin`: a new log.
    pub fn begin(&mut self) {
        self.settled = false;
        for id in self.sessions() {
            self.local_mut(id).expect("it was just listed").covered = None;
            self.ask(id, Request::Restore);
        }
    }

    /// All sessions of the fold.
    pub fn sessions(&self) -> Vec<Session> {
        let number = |peer: Peer| self.locals[usize::from(peer)].map(|local| local.number);
        peers().filter_map(|peer| Some(Session { peer, number: number(peer)? })).collect()
    }

    /// A session, if it is one of this fold.
    pub fn local_mut(&mut self, id: Session) -> Option<&mut Local> {
        self.locals[usize::from(id.peer)].as_mut().filter(|local| local.number == id.number)
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
        let local = self.local_mut(id).copied();
        match request {
            Request::Attach => Some(Call::Attach),
            Request::Bind => local.map(|local| Call::Bind { version: local.version }),
            Request::Restore => local.map(|l| Call::Restore { version: l.version, tunnels: l.tunnels() }),
            Request::Lose => Some(Call::Lose),
            Request::Disconnect => Some(Call::Disconnect),
            Request::Open(agent) => Some(Call::Open(agent)),
            Request::Page(after) => Some(Call::Page(after)),
        }
    }

    /// `Fold::apply`. A page may ask for the next one.
    pub fn apply(&mut self, event: &Event, guards: &Guards, news: &mut Vec<News>) {
        match *event {
            Event::Changed { peer, binding } => self.tell_interested(peer, Some(binding), guards, news),
            Event::Disconnected { peer } => {
                self.tell_interested(peer, None, guards, news);
                if peer == CLIENT {
                    peers().for_each(|agent| self.closed(agent, CLIENT, guards, news));
                }
            }
            Event::Opened { agent, of_client, of_agent } => {
                self.opened(CLIENT, agent, of_agent, guards, news);
                self.opened(agent, CLIENT, of_client, guards, news);
            }
            Event::Ended(id) => {
                if self.local_mut(id).is_some() {
                    self.locals[usize::from(id.peer)] = None;
                }
            }
            Event::View { session, after, until, ref partners } => {
                if self.view(session, after, until, partners, news) {
                    self.ask(session, Request::Page(until));
                }
            }
            Event::Settled => self.settle(guards, news),
        }
    }

    /// `Fold::changed`: None is a goodbye.
    fn tell_interested(&mut self, other: Peer, binding: Option<Binding>, guards: &Guards, news: &mut Vec<News>) {
        for viewer in peers() {
            let Some(local) = self.locals[usize::from(viewer)].as_mut() else { continue };
            let relation = local.relations[usize::from(other)];
            let knows = relation.tunnel || (relation.withheld && binding.is_none());
            if knows && (local.covers(other) || !guards.coverage) {
                local.tell(viewer, other, binding, news);
            }
        }
    }

    /// `Local::opened`.
    fn opened(&mut self, viewer: Peer, other: Peer, binding: Option<Binding>, guards: &Guards, news: &mut Vec<News>) {
        let Some(local) = self.locals[usize::from(viewer)].as_mut() else { return };
        if local.covers(other) || !guards.coverage {
            local.relations[usize::from(other)].tunnel = true;
            if binding.is_some() {
                local.tell(viewer, other, binding, news);
            }
        }
    }

    /// `Local::closed`, for tunnels that end with the client.
    fn closed(&mut self, viewer: Peer, other: Peer, guards: &Guards, news: &mut Vec<News>) {
        let settled = self.settled;
        let Some(local) = self.locals[usize::from(viewer)].as_mut() else { return };
        if viewer != other && (local.covers(other) || !guards.coverage) {
            local.relations[usize::from(other)].tunnel = false;
            local.absent(viewer, other, settled, news);
        }
    }

    /// `Local::turn`: whether there is a further page to ask for.
    fn view(
        &mut self,
        id: Session,
        after: Option<Peer>,
        until: Peer,
        page: &[(Peer, Option<Binding>)],
        news: &mut Vec<News>,
    ) -> bool {
        let settled = self.settled;
        let Some(local) = self.local_mut(id) else { return false };
        if after.is_some_and(|after| !local.covers(after)) {
            return false;
        }
        let listed = |other: Peer| page.iter().find(|(key, _)| *key == other);
        for other in peers().filter(|other| after.is_none_or(|after| *other > after) && *other <= until) {
            match listed(other) {
                None => {
                    local.relations[usize::from(other)].tunnel = false;
                    local.absent(id.peer, other, settled, news);
                }
                Some((_, binding)) => {
                    local.relations[usize::from(other)].tunnel = true;
                    match binding {
                        None if !settled => local.withhold(other),
                        binding => local.tell(id.peer, other, *binding, news),
                    }
                }
            }
        }
        let further = local.covered.is_none_or(|covered| until > covered);
        local.covered = local.covered.max(Some(until));
        further && until != END
    }

    /// `Fold::settle`.
    fn settle(&mut self, guards: &Guards, news: &mut Vec<News>) {
        self.settled = true;
        for viewer in peers() {
            let Some(local) = self.locals[usize::from(viewer)].as_mut() else { continue };
            for other in peers().filter(|other| local.covers(*other) || !guards.coverage).collect::<Vec<_>>() {
                if local.relations[usize::from(other)].withheld {
                    local.tell(viewer, other, None, news);
                }
            }
        }
    }
}
