//! One proxy: a fold over its log, and the requests that wait. Follows `proxy/src/{fold,local,told,batcher}.rs`.

use std::collections::BTreeSet;

use crate::{
    call::{Agents, Call, Request},
    event::{Binding, CLIENT, Event, Node, PEERS, Peer, Session, peers},
    guards::Guards,
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

/// What a peer knows of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Told {
    #[default]
    Nothing,
    Node(Node),
    Lost,
}

/// What a session has with a partner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Relation {
    pub tunnel: bool,
    /// The partner is absent, and the session does not know.
    pub withheld: bool,
    pub told: Told,
    /// The newest node that it was ever told: for the property only.
    pub highest: Option<Node>,
}

/// A session that the proxy holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Local {
    pub number: u8,
    /// Its requests are read from then on.
    pub attached: bool,
    /// Of the last node that it announced; 0: none.
    pub version: u8,
    /// The tunnels that it asked for. It never closes one.
    pub wishes: Agents,
    /// The pages have come up to this key.
    covered: Option<Peer>,
    pub relations: [Relation; PEERS],
}

/// A session was told something.
#[derive(Debug, Clone, Copy)]
pub struct News {
    pub viewer: Peer,
    pub about: Peer,
    /// Older than what it was told before.
    pub backwards: bool,
    /// LOST or DISCONNECTED.
    pub gone: bool,
}

/// The state of a proxy.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Proxy {
    pub phase: Phase,
    /// The process does nothing for a while.
    pub stalled: bool,
    pub locals: [Option<Local>; PEERS],
    pub settled: bool,
    pub waiting: BTreeSet<(Session, Request)>,
}

impl Local {
    /// `Local::standing`: the tunnels of the log and those that it asked for.
    pub fn tunnels(&self) -> Agents {
        let mut tunnels = self.wishes;
        // Of an agent it is the client that opened it.
        for agent in peers().filter(|agent| *agent != CLIENT && self.relations[usize::from(*agent)].tunnel) {
            tunnels.insert(agent);
        }
        tunnels
    }

    fn covers(&self, other: Peer) -> bool {
        self.covered.is_some_and(|covered| other <= covered)
    }
}

impl Proxy {
    /// A proxy that is about to register.
    pub fn new() -> Self {
        Self { phase: Phase::Doubting, stalled: false, locals: [None; PEERS], settled: false, waiting: BTreeSet::new() }
    }

    /// `Fold::open`.
    pub fn open(&mut self, id: Session) {
        let (version, wishes) = (0, Agents::default());
        let relations = <[Relation; PEERS]>::default();
        let local = Local { number: id.number, attached: false, version, wishes, covered: None, relations };
        self.locals[usize::from(id.peer)] = Some(local);
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
            Event::Settled => self.settle(news),
        }
    }

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

    fn opened(&mut self, viewer: Peer, other: Peer, binding: Option<Binding>, guards: &Guards, news: &mut Vec<News>) {
        let Some(local) = self.locals[usize::from(viewer)].as_mut() else { return };
        if local.covers(other) || !guards.coverage {
            local.relations[usize::from(other)].tunnel = true;
            if binding.is_some() {
                local.tell(viewer, other, binding, news);
            }
        }
    }

    fn closed(&mut self, viewer: Peer, other: Peer, guards: &Guards, news: &mut Vec<News>) {
        let settled = self.settled;
        let Some(local) = self.locals[usize::from(viewer)].as_mut() else { return };
        if viewer != other && (local.covers(other) || !guards.coverage) {
            local.relations[usize::from(other)].tunnel = false;
            local.absent(viewer, other, settled, news);
        }
    }

    /// Whether there is a further page to ask for.
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
        further && until != crate::event::END
    }

    fn settle(&mut self, news: &mut Vec<News>) {
        self.settled = true;
        for viewer in peers() {
            let Some(local) = self.locals[usize::from(viewer)].as_mut() else { continue };
            for other in peers().filter(|other| local.covers(*other)).collect::<Vec<_>>() {
                if local.relations[usize::from(other)].withheld {
                    local.tell(viewer, other, None, news);
                }
            }
        }
    }
}

impl Local {
    fn tell(&mut self, viewer: Peer, about: Peer, binding: Option<Binding>, news: &mut Vec<News>) {
        let relation = &mut self.relations[usize::from(about)];
        relation.withheld = false;
        let told = match binding {
            None => Told::Nothing,
            Some(Binding::Ok(node)) => Told::Node(node),
            Some(Binding::Lost) if relation.told == Told::Nothing => Told::Nothing,
            Some(Binding::Lost) => Told::Lost,
        };
        if told == relation.told {
            return;
        }
        relation.told = told;
        let node = if let Told::Node(node) = told { Some(node) } else { None };
        let backwards = node.is_some() && node < relation.highest;
        relation.highest = relation.highest.max(node);
        news.push(News { viewer, about, backwards, gone: node.is_none() });
    }

    fn absent(&mut self, viewer: Peer, other: Peer, settled: bool, news: &mut Vec<News>) {
        self.withhold(other);
        if settled {
            self.tell(viewer, other, None, news);
        }
    }

    fn withhold(&mut self, other: Peer) {
        let relation = &mut self.relations[usize::from(other)];
        relation.withheld |= relation.told != Told::Nothing;
    }
}
