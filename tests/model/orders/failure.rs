//! What breaks, and how long things take: only time shows that something broke.

use tailnet_model::{coordinators::COORDINATORS, guards::Guards, tables::Tables};

use crate::{proxy::Phase, world::World};

impl World {
    /// A process does nothing for the time of an expiry, while others beat: its peers may be told lost.
    pub fn stall(&mut self, at: usize) {
        self.proxies[at].stalled = true;
        self.tables.coordinators.silence(at);
        self.history.harm_all(&self.proxies[at]);
    }

    /// The database does nothing for the time of an expiry: nobody could beat. Its clock goes on.
    pub fn stall_database(&mut self) {
        (0..COORDINATORS).for_each(|at| self.tables.coordinators.silence(at));
        self.tables.coordinators.end_grace();
    }

    /// A process is gone, and its sockets with it. Its calls may still be committed.
    pub fn die(&mut self, at: usize) {
        self.doubt(at);
        self.tables.coordinators.silence(at);
        self.history.harm_all(&self.proxies[at]);
        self.proxies[at].die();
    }

    /// The database crashes: unlogged tables are emptied, and every connection is cut.
    pub fn crash(&mut self, guards: &Guards) {
        self.history.crash(&self.tables, &self.proxies);
        let newest = if guards.durable_number { self.tables.newest } else { self.tables.flushed };
        self.tables = Tables::empty(newest);
        for at in (0..COORDINATORS).filter(|at| self.proxies[*at].phase != Phase::Dead).collect::<Vec<_>>() {
            self.doubt(at);
        }
        self.flights.clear();
    }

    /// The grace after a crash is over, or the own heartbeats of a coordinator were on time for as long: everybody who is
    /// well has been heard meanwhile.
    pub fn all_heard(&self) -> bool {
        (0..COORDINATORS).all(|at| {
            let well = self.proxies[at].phase != Phase::Dead && !self.proxies[at].stalled;
            !well || self.tables.coordinators.get(at).is_some_and(|registration| registration.fresh)
        })
    }

    /// Who sends heartbeats on time while time passes.
    pub fn beating(&self) -> [bool; COORDINATORS] {
        [0, 1].map(|at| self.proxies[at].phase == Phase::Standing && !self.proxies[at].stalled)
    }
}
