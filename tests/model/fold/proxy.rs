//! A proxy: its registration, and its LISTEN connection.

use tailnet_model::wire;
use tailnet_proxy::state::switchboard::Switchboard;
use uuid::Uuid;

use crate::database::Database;

#[derive(Default)]
pub struct Proxy {
    pub switchboard: Switchboard,
    /// Registered, and not listening yet.
    pub registering: Option<Uuid>,
    pub registration: Option<Uuid>,
    /// How many messages had been written when the LISTEN connection was asked.
    asked: Option<usize>,
}

impl Proxy {
    pub fn register(&mut self, at: usize, database: &mut Database) {
        self.registering = Some(database.register(at));
    }

    pub fn listen(&mut self, at: usize, database: &mut Database) {
        if let Some(registration) = self.registering.take() {
            database.listen(at);
            self.registration = Some(registration);
            self.switchboard.begin(registration);
        }
    }

    pub fn deliver(&self, at: usize, messages: usize, database: &mut Database) {
        for _ in 0..messages {
            // What a cut connection had not delivered is lost.
            let Some(events) = database.deliver(at) else { return };
            if self.registration.is_some() {
                self.switchboard.fold(events.iter().map(wire::event).collect());
            }
        }
    }

    /// The LISTEN connection is asked.
    pub fn ask(&mut self, at: usize, database: &Database) {
        self.asked = self.registration.map(|_| database.written(at));
    }

    /// It answers, after all that was written before the question.
    pub fn answer(&mut self, at: usize, database: &mut Database) {
        let Some(asked) = self.asked.take() else { return };
        let delivered = database.written(at) - database.undelivered(at);
        self.deliver(at, asked.saturating_sub(delivered), database);
        self.switchboard.mark();
    }

    pub fn beat(&mut self, at: usize, database: &mut Database) {
        let Some(registration) = self.registration else { return };
        if database.admit(at, registration).is_err() {
            self.doubt(at, database);
        } else {
            database.beat(at, self.switchboard.restoration.is_done());
        }
    }

    pub fn doubt(&mut self, at: usize, database: &mut Database) {
        if let Some(registration) = self.registration {
            self.doubt_registration(at, registration, database);
        }
    }

    pub fn doubt_registration(&mut self, at: usize, registration: Uuid, database: &mut Database) {
        self.switchboard.readiness.doubt(registration);
        if self.registration == Some(registration) {
            (self.registration, self.asked) = (None, None);
            while database.deliver(at).is_some() {}
        }
    }
}
