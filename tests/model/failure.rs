//! What breaks, and how long things take: only time shows that something broke.

use crate::{
    protocol::Protocol,
    proxy::{Phase, Proxy},
    tables::{COORDINATORS, Tables},
    world::World,
};

impl World {
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

    /// A process does nothing for the time of an expiry, while others beat: its peers may be told lost.
    pub fn stall(&mut self, at: usize) {
        self.proxies[at].stalled = true;
        self.silence(at);
        self.history.harm_all(&self.proxies[at]);
    }

    /// The database does nothing for the time of an expiry: nobody could beat. Its clock goes on.
    pub fn stall_database(&mut self) {
        (0..COORDINATORS).for_each(|at| self.silence(at));
        self.tables.end_grace();
    }

    /// A process is gone, and its sockets with it. Its calls may still be committed.
    pub fn die(&mut self, at: usize) {
        self.doubt(at);
        self.silence(at);
        self.history.harm_all(&self.proxies[at]);
        self.proxies[at] = Proxy { phase: Phase::Dead, ..Proxy::new() };
    }

    /// The database crashes: unlogged tables are emptied, and every connection is cut.
    pub fn crash(&mut self, protocol: &Protocol) {
        self.history.crash(&self.tables, &self.proxies);
        let newest = if protocol.guards.durable_number { self.tables.newest } else { self.tables.flushed };
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

    /// Nobody has heard of a coordinator for the time of an expiry.
    fn silence(&mut self, at: usize) {
        if let Some(registration) = &mut self.tables.coordinators[at] {
            registration.fresh = false;
        }
    }
}
