//! Everything there is at one time, and what the peers, the proxies and the database do to it while nothing breaks.

use std::collections::BTreeSet;

use crate::{
    call::{Call, Flight, Request},
    event::{Event, PEERS, Peer, Session},
    guards::Guards,
    history::History,
    protocol::{Budget, Protocol},
    proxy::{Phase, Proxy},
    tables::{COORDINATORS, Fanout, Tables},
};

/// A state.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    /// What the database has.
    pub tables: Tables,
    /// The messages that are not delivered yet.
    pub logs: [Vec<Vec<Event>>; COORDINATORS],
    /// Views that come as results of queries, when they do not travel in the log.
    pub results: [Vec<Event>; COORDINATORS],
    /// By coordinator.
    pub proxies: [Proxy; COORDINATORS],
    /// The calls that may still be committed.
    pub flights: BTreeSet<Flight>,
    /// How often each fault may still happen.
    pub left: Budget,
    /// The number of sessions that each peer has opened.
    pub opened: [u8; PEERS],
    /// For the properties only.
    pub history: History,
}

impl World {
    /// Nobody is registered yet.
    pub fn new(left: Budget) -> Self {
        Self {
            tables: Tables::empty([0; PEERS]),
            logs: Default::default(),
            results: Default::default(),
            proxies: [Proxy::new(), Proxy::new()],
            flights: BTreeSet::new(),
            left,
            opened: [0; PEERS],
            history: History::default(),
        }
    }

    /// A token is checked, and the session begins. `Hub::join`.
    pub fn connect(&mut self, peer: Peer, at: usize) {
        self.opened[usize::from(peer)] += 1;
        let id = Session { peer, number: self.opened[usize::from(peer)] };
        self.proxies[at].open(id);
        self.pump(at);
    }

    /// `Hub::announce`.
    pub fn announce(&mut self, at: usize, id: Session) {
        if let Some(local) = self.proxies[at].local_mut(id) {
            local.version += 1;
            self.proxies[at].ask(id, Request::Bind);
            self.pump(at);
        }
    }

    /// `Hub::tunnel`.
    pub fn open(&mut self, at: usize, id: Session, agent: Peer) {
        if let Some(local) = self.proxies[at].local_mut(id) {
            local.wishes.insert(agent);
            self.proxies[at].ask(id, Request::Open(agent));
            self.pump(at);
        }
    }

    /// A websocket ends, with a goodbye or without. `Hub::disconnect`, `Hub::lose`.
    pub fn end(&mut self, at: usize, id: Session, request: Request) {
        self.history.harm(id.peer);
        self.proxies[at].locals[usize::from(id.peer)] = None;
        self.proxies[at].ask(id, request);
        self.pump(at);
    }

    /// Without the networks' locks a change reads what others have written before it writes itself.
    pub fn look(&mut self, flight: &Flight) {
        self.flights.remove(flight);
        self.flights.insert(Flight { seen: Some(Box::new(self.tables)), ..flight.clone() });
    }

    /// A call is committed, and the proxy learns so unless it has given it up.
    pub fn commit(&mut self, flight: &Flight, protocol: &Protocol) {
        self.flights.remove(flight);
        let (at, id, guards) = (flight.at, flight.session, &protocol.guards);
        if self.tables.coordinators[at].is_none() {
            if !flight.orphan {
                self.flights.insert(flight.clone());
                self.doubt(at);
            }
            return;
        }
        let before = self.tables;
        let mut fanout = self.tables.run(at, id, flight.call, protocol.page, guards);
        if let Some(mut seen) = flight.seen.clone() {
            fanout = seen.run(at, id, flight.call, protocol.page, guards);
        }
        self.history.commit(&before, &self.tables, flight);
        if !guards.views_in_log {
            let (views, events) =
                std::mem::take(&mut fanout[at]).into_iter().partition(|e| matches!(e, Event::View { .. }));
            fanout[at] = events;
            self.results[at].extend::<Vec<_>>(views);
        }
        self.send(fanout);
        if !flight.orphan {
            if let (Call::Attach | Call::Restore { .. }, Some(local)) = (flight.call, self.proxies[at].local_mut(id)) {
                local.attached = true;
            }
            self.pump(at);
        }
    }

    /// The next message of a log is folded.
    pub fn deliver(&mut self, at: usize, protocol: &Protocol) {
        let message = self.logs[at].remove(0);
        self.fold(at, &message, protocol);
    }

    /// The result of a query comes, at any time.
    pub fn result(&mut self, at: usize, protocol: &Protocol) {
        let view = self.results[at].remove(0);
        self.fold(at, &[view], protocol);
    }

    /// `register_coordinator`: no call of the registration before can be committed any more, see `turn::admit`.
    pub fn register(&mut self, at: usize, guards: &Guards) {
        self.tables.register(at);
        self.proxies[at].phase = Phase::Registered;
        self.flights.retain(|flight| flight.at != at || !guards.admission);
    }

    /// `listen_coordinator`, then `Hub::begin`.
    pub fn listen(&mut self, at: usize) {
        match &mut self.tables.coordinators[at] {
            None => self.proxies[at].phase = Phase::Doubting,
            Some(registration) => {
                registration.listening = true;
                self.proxies[at].phase = Phase::Standing;
                self.proxies[at].begin();
                self.pump(at);
            }
        }
    }

    /// A heartbeat; one that is refused is a doubt.
    pub fn beat(&mut self, at: usize, protocol: &Protocol) {
        if self.tables.coordinators[at].is_none() {
            self.doubt(at);
            return;
        }
        let is_restore = |call: Call| matches!(call, Call::Restore { .. });
        let in_flight = self.flights.iter().any(|f| f.at == at && !f.orphan && is_restore(f.call));
        let restored = !in_flight && self.proxies[at].waiting.iter().all(|(_, request)| *request != Request::Restore);
        let fanout = self.tables.beat(at, restored, &protocol.guards);
        self.send(fanout);
    }

    /// Sends what waits, unless its key is in flight.
    fn pump(&mut self, at: usize) {
        if self.proxies[at].phase != Phase::Standing {
            return;
        }
        for (session, request) in self.proxies[at].waiting.clone() {
            let same =
                |f: &Flight| f.at == at && !f.orphan && f.session == session && f.call.request().key() == request.key();
            if self.flights.iter().any(same) {
                continue;
            }
            self.proxies[at].waiting.remove(&(session, request));
            if let Some(call) = self.proxies[at].call(session, request) {
                self.flights.insert(Flight { at, session, call, orphan: false, seen: None });
            }
        }
    }

    /// `Hub::fold`.
    fn fold(&mut self, at: usize, message: &[Event], protocol: &Protocol) {
        let mut news = Vec::new();
        message.iter().for_each(|event| self.proxies[at].apply(event, &protocol.guards, &mut news));
        news.iter().for_each(|news| self.history.tell(news));
        self.pump(at);
    }

    /// Who does not listen hears nothing, not even later.
    fn send(&mut self, fanout: Fanout) {
        for (at, events) in fanout.into_iter().enumerate() {
            if !events.is_empty() && self.tables.coordinators[at].is_some_and(|registration| registration.listening) {
                self.logs[at].push(events);
            }
        }
    }
}
