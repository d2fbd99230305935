//! Everything there is at one time, and every step that can happen to it.

use std::collections::BTreeSet;

use crate::{
    call::{Call, Flight, Request},
    event::{CLIENT, Event, Node, PEERS, Peer, Session, peers},
    protocol::{Budget, Protocol},
    proxy::{News, Phase, Proxy},
    tables::{COORDINATORS, Fanout, Tables},
};

/// What must never happen, and did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Faults {
    /// A session was told of an older node than before.
    pub backwards: bool,
    /// A superseded session's node was written.
    pub late: bool,
    /// LOST or DISCONNECTED was told of a healthy session.
    pub gone: bool,
}

/// A state.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub tables: Tables,
    /// The messages that are not delivered yet.
    pub logs: [Vec<Vec<Event>>; COORDINATORS],
    /// Views that come as results of queries, when they do not travel in the log.
    pub results: [Vec<Event>; COORDINATORS],
    pub proxies: [Proxy; COORDINATORS],
    pub flights: BTreeSet<Flight>,
    /// How often each fault may still happen.
    pub left: Budget,
    /// The number of sessions that each peer has opened.
    pub opened: [u8; PEERS],
    /// The newest session of each peer that was ever attached.
    attached: [u8; PEERS],
    /// Of these peers the absence may be told.
    harmed: [bool; PEERS],
    pub faults: Faults,
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
            attached: [0; PEERS],
            harmed: [false; PEERS],
            faults: Faults::default(),
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
        self.harmed[usize::from(id.peer)] = true;
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
        self.note_commit(&before, flight);
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

    /// Some connection of a proxy is cut: each of its calls may be committed or not. What it asked for waits.
    pub fn doubt(&mut self, at: usize) {
        self.proxies[at].phase = Phase::Doubting;
        self.logs[at].clear();
        self.results[at].clear();
        let flights = std::mem::take(&mut self.flights);
        for mut flight in flights {
            if flight.at == at && !flight.orphan {
                flight.orphan = true;
                let newer = self.proxies[at].waiting.clone();
                self.proxies[at].waiting.clear();
                self.proxies[at].ask(flight.session, flight.call.request());
                newer.into_iter().for_each(|(id, request)| self.proxies[at].ask(id, request));
            }
            self.flights.insert(flight);
        }
    }

    /// `register_coordinator`: no call of the registration before can be committed any more.
    pub fn register(&mut self, at: usize) {
        self.tables.register(at);
        self.proxies[at].phase = Phase::Registered;
        self.flights.retain(|flight| flight.at != at);
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

    /// A process does nothing for the time of an expiry, while others beat: its peers may be told lost.
    pub fn stall(&mut self, at: usize) {
        self.proxies[at].stalled = true;
        self.silence(at);
        self.harm_all(at);
    }

    /// The database does nothing for the time of an expiry: nobody could beat.
    pub fn stall_database(&mut self) {
        (0..COORDINATORS).for_each(|at| self.silence(at));
    }

    /// A process is gone, and its sockets with it. Its calls may still be committed.
    pub fn die(&mut self, at: usize) {
        self.doubt(at);
        self.silence(at);
        self.harm_all(at);
        self.proxies[at] = Proxy { phase: Phase::Dead, ..Proxy::new() };
    }

    /// The database crashes: unlogged tables are emptied, and every connection is cut.
    pub fn crash(&mut self, protocol: &Protocol) {
        for peer in peers() {
            let newest = self.proxies.iter().flat_map(|p| p.locals[usize::from(peer)]).max_by_key(|l| l.number);
            // Who took over has what the tables have, until they are gone: it did not ask for it itself.
            let whole = newest.is_some_and(|local| {
                local.version > 0
                    && local.number >= self.attached[usize::from(peer)]
                    && (peer != CLIENT || local.tunnels().contains_all(self.tables.tunnels))
            });
            self.harmed[usize::from(peer)] |= !whole;
        }
        let newest = if protocol.guards.durable_number { self.tables.newest } else { [0; PEERS] };
        self.tables = Tables::empty(newest);
        for at in (0..COORDINATORS).filter(|at| self.proxies[*at].phase != Phase::Dead).collect::<Vec<_>>() {
            self.doubt(at);
        }
        self.flights.clear();
    }

    /// The grace after a crash is over, or the own beats of a coordinator were on time for as long: everybody who is
    /// well has been heard meanwhile.
    pub fn all_heard(&self) -> bool {
        (0..COORDINATORS).all(|at| {
            let well = self.proxies[at].phase != Phase::Dead && !self.proxies[at].stalled;
            !well || self.tables.coordinators[at].is_some_and(|registration| registration.fresh)
        })
    }

    /// Who beats on time while time passes.
    pub fn beating(&self) -> [bool; COORDINATORS] {
        [0, 1].map(|at| self.proxies[at].phase == Phase::Standing && !self.proxies[at].stalled)
    }

    fn silence(&mut self, at: usize) {
        if let Some(registration) = &mut self.tables.coordinators[at] {
            registration.fresh = false;
        }
    }

    fn harm_all(&mut self, at: usize) {
        self.proxies[at].sessions().iter().for_each(|id| self.harmed[usize::from(id.peer)] = true);
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

    fn fold(&mut self, at: usize, message: &[Event], protocol: &Protocol) {
        let mut news = Vec::new();
        message.iter().for_each(|event| self.proxies[at].apply(event, &protocol.guards, &mut news));
        for News { viewer, about, backwards, gone } in news {
            self.faults.backwards |= backwards;
            self.faults.gone |= gone && !self.harmed[usize::from(viewer)] && !self.harmed[usize::from(about)];
        }
        self.pump(at);
    }

    fn send(&mut self, fanout: Fanout) {
        for (at, events) in fanout.into_iter().enumerate() {
            if !events.is_empty() && self.tables.coordinators[at].is_some_and(|registration| registration.listening) {
                self.logs[at].push(events);
            }
        }
    }

    fn note_commit(&mut self, before: &Tables, flight: &Flight) {
        let (peer, number) = (usize::from(flight.session.peer), flight.session.number);
        let (old, new) = (before.rows[peer], self.tables.rows[peer]);
        let attaches = matches!(flight.call, Call::Attach | Call::Restore { .. });
        if attaches && self.tables.is_current(flight.at, flight.session) {
            // What an earlier session had announced is not in the tables: it was not restored before it was superseded.
            let inherits = number == 1 || old.is_some_and(|row| row.binding.is_some());
            self.harmed[peer] |= flight.call == Call::Attach && !inherits;
            self.attached[peer] = self.attached[peer].max(number);
        }
        let node = |row: Option<crate::tables::Row>| match row.and_then(|row| row.binding) {
            Some(crate::event::Binding::Ok(node)) => Some(node),
            _ => None,
        };
        let late = |node: Node| node.session < self.attached[peer];
        self.faults.late |= node(new) != node(old) && node(new).is_some_and(late);
    }
}
