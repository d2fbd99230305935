//! Everything there is at one time, and what the peers, the proxies and the database do to it while nothing breaks.

use std::collections::BTreeSet;

use tailnet_model::{
    call::Call,
    coordinators::COORDINATORS,
    event::{Event, Session},
    guards::Guards,
    peers::{PEERS, Peer},
    tables::{Fanout, Tables},
};

use crate::{
    flight::Flight,
    history::History,
    protocol::{Budget, Protocol},
    proxy::{Phase, Proxy},
    request::Request,
};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub tables: Tables,
    /// The messages that are not delivered yet.
    pub logs: [Vec<Vec<Event>>; COORDINATORS],
    /// Views that come as results of queries, when they do not travel in the log.
    pub results: [Vec<Event>; COORDINATORS],
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

    /// A token is checked, and the session begins.
    pub fn connect(&mut self, peer: Peer, at: usize) {
        self.opened[usize::from(peer)] += 1;
        let id = Session { peer, number: self.opened[usize::from(peer)] };
        self.act(at, |proxy| proxy.open(id));
    }

    /// A session of a proxy does something.
    pub fn act(&mut self, at: usize, act: impl FnOnce(&mut Proxy)) {
        act(&mut self.proxies[at]);
        self.pump(at);
    }

    /// A websocket ends, with a goodbye or without.
    pub fn end(&mut self, at: usize, id: Session, request: Request) {
        self.history.harm(id.peer);
        self.act(at, |proxy| proxy.close(id, request));
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
        if self.tables.coordinators.get(at).is_none() {
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
            self.act(at, |proxy| proxy.committed(id, flight.call));
        }
    }

    /// The next message of a log is folded.
    pub fn deliver(&mut self, at: usize) {
        let message = self.logs[at].remove(0);
        self.fold(at, &message);
    }

    /// The result of a query comes, at any time.
    pub fn result(&mut self, at: usize) {
        let view = self.results[at].remove(0);
        self.fold(at, &[view]);
    }

    /// `register_coordinator`: no call of the registration before can be committed any more.
    pub fn register(&mut self, at: usize, guards: &Guards) {
        self.tables.coordinators.register(at);
        self.proxies[at].phase = Phase::Registered;
        self.flights.retain(|flight| flight.at != at || !guards.admission);
    }

    /// `listen_coordinator`: from now on the log is folded.
    pub fn listen(&mut self, at: usize, guards: &Guards) {
        if self.tables.coordinators.listen(at) {
            self.proxies[at].phase = Phase::Standing;
            self.proxies[at].begin(guards);
            self.pump(at);
        } else {
            self.proxies[at].phase = Phase::Doubting;
        }
    }

    /// A heartbeat; one that is refused is a doubt.
    pub fn beat(&mut self, at: usize, guards: &Guards) {
        if self.tables.coordinators.get(at).is_none() {
            self.doubt(at);
            return;
        }
        let fanout = self.tables.beat(at, self.is_restored(at), guards);
        self.send(fanout);
    }

    /// Whether a heartbeat changes anything.
    pub fn has_to_beat(&self, at: usize, guards: &Guards) -> bool {
        let mut tables = self.tables;
        tables.beat(at, self.is_restored(at), guards);
        self.tables.coordinators.get(at).is_none() || tables != self.tables
    }

    /// Some connection of a proxy is cut: each of its calls may be committed or not. What it asked for waits.
    pub fn doubt(&mut self, at: usize) {
        self.proxies[at].phase = Phase::Doubting;
        self.logs[at].clear();
        self.results[at].clear();
        let flights = std::mem::take(&mut self.flights);
        for mut flight in flights {
            if flight.at == at && !flight.orphan {
                flight.orphan = true;
                let newer = std::mem::take(&mut self.proxies[at].waiting);
                self.proxies[at].ask(flight.session, Request::of(flight.call));
                newer.into_iter().for_each(|(id, request)| self.proxies[at].ask(id, request));
            }
            self.flights.insert(flight);
        }
    }

    /// No restore waits or is in flight.
    fn is_restored(&self, at: usize) -> bool {
        let is_restore = |call: Call| matches!(call, Call::Restore { .. });
        let in_flight = self.flights.iter().any(|f| f.at == at && !f.orphan && is_restore(f.call));
        !in_flight && self.proxies[at].waiting.iter().all(|(_, request)| *request != Request::Restore)
    }

    /// Sends what waits, unless its key is in flight.
    fn pump(&mut self, at: usize) {
        if self.proxies[at].phase != Phase::Standing {
            return;
        }
        for (session, request) in self.proxies[at].waiting.clone() {
            let same = |f: &Flight| {
                f.at == at && !f.orphan && f.session == session && Request::of(f.call).key() == request.key()
            };
            if self.flights.iter().any(same) {
                continue;
            }
            self.proxies[at].waiting.remove(&(session, request));
            if let Some(call) = self.proxies[at].call(session, request) {
                self.flights.insert(Flight { at, session, call, orphan: false, seen: None });
            }
        }
    }

    fn fold(&mut self, at: usize, message: &[Event]) {
        let mut news = Vec::new();
        message.iter().for_each(|event| self.proxies[at].apply(event, &mut news));
        news.iter().for_each(|news| self.history.tell(news));
        self.pump(at);
    }

    /// Who does not listen hears nothing, not even later.
    fn send(&mut self, fanout: Fanout) {
        for (at, events) in fanout.into_iter().enumerate() {
            if !events.is_empty() && self.tables.coordinators.is_listening(at) {
                self.logs[at].push(events);
            }
        }
    }
}
