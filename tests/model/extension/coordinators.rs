//! Which coordinators are registered, and whether all sessions are restored since the tables were emptied.
//!
//! Time has no length: a coordinator was heard within the time of an expiry or not.

use crate::guards::Guards;

/// Two are enough: the one that acts, and another.
pub const COORDINATORS: usize = 2;

/// A row of `coordinators`. It has no secret: who drives the tables refuses the calls of an earlier registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Registration {
    /// What is told before is not heard.
    pub listening: bool,
    /// It was heard within the time of an expiry.
    pub fresh: bool,
    /// Its own heartbeats were on time for as long.
    on_time: bool,
    /// It has put back all sessions that it held when it registered.
    restored: bool,
    /// It was told that what is absent is absent.
    settled: bool,
}

/// The clock since the tables were emptied. It alone proves nothing: see `Coordinators::restored`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Grace {
    /// Nobody has registered since the tables were emptied.
    #[default]
    NotBegun,
    /// Somebody has: the others are still to come.
    Begun,
    /// The clock says that they had the time to.
    Over,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Coordinators {
    /// None: expired, or not registered.
    registrations: [Option<Registration>; COORDINATORS],
    /// What a coordinator that was silent would go by.
    grace: Grace,
    /// The table `restoration`: everybody is back since the tables were emptied.
    restored: bool,
}

/// What follows from a heartbeat.
#[derive(Debug, Default)]
pub struct Beat {
    /// The coordinators that have just expired.
    pub expired: Vec<usize>,
    /// The coordinator is to be told that what is absent is absent.
    pub settles: bool,
}

impl Coordinators {
    pub fn get(&self, at: usize) -> Option<&Registration> {
        self.registrations[at].as_ref()
    }

    /// Whether events for it are heard.
    pub fn is_listening(&self, at: usize) -> bool {
        self.get(at).is_some_and(|registration| registration.listening)
    }

    /// `register_coordinator`.
    pub fn register(&mut self, at: usize) {
        let (listening, on_time, restored, settled) = (false, false, false, false);
        self.registrations[at] = Some(Registration { listening, fresh: true, on_time, restored, settled });
        if self.grace == Grace::NotBegun {
            self.grace = Grace::Begun;
        }
    }

    /// `listen_coordinator`. Whether it is registered.
    pub fn listen(&mut self, at: usize) -> bool {
        self.registrations[at].as_mut().map(|registration| registration.listening = true).is_some()
    }

    /// `heartbeat_coordinator`. A heartbeat after a silence is late, and starts the span of timely ones anew.
    pub fn beat(&mut self, at: usize, restored: bool, guards: &Guards) -> Beat {
        let mut beat = Beat::default();
        let Some(own) = &mut self.registrations[at] else { return beat };
        own.on_time &= own.fresh;
        own.fresh = true;
        own.restored |= restored;
        let on_time = own.on_time;
        for (other, registration) in self.registrations.iter_mut().enumerate() {
            if (on_time || !guards.silent_do_not_expire) && registration.is_some_and(|other| !other.fresh) {
                *registration = None;
                beat.expired.push(other);
            }
        }
        let mut here = self.registrations.iter().flatten();
        self.restored |= if guards.silent_do_not_settle {
            on_time && here.all(|other| other.restored)
        } else {
            self.grace == Grace::Over && here.all(|other| other.restored || !other.fresh)
        };
        let may_settle = !guards.grace || self.restored;
        if let Some(own) = self.registrations[at].as_mut().filter(|own| may_settle && !own.settled) {
            own.settled = true;
            beat.settles = true;
        }
        beat
    }

    /// The time of an expiry passes for those that send heartbeats on time.
    pub fn pass_time(&mut self, beating: &[bool; COORDINATORS]) {
        for (registration, _) in self.registrations.iter_mut().zip(beating).filter(|(_, on_time)| **on_time) {
            if let Some(registration) = registration {
                registration.on_time = true;
            }
        }
        self.end_grace();
    }

    /// The clock goes on whether anybody could come back or not.
    pub fn end_grace(&mut self) {
        if self.grace == Grace::Begun {
            self.grace = Grace::Over;
        }
    }

    /// Nobody has heard of a coordinator for the time of an expiry.
    pub fn silence(&mut self, at: usize) {
        if let Some(registration) = &mut self.registrations[at] {
            registration.fresh = false;
        }
    }

    /// It is registered no longer.
    pub(crate) fn remove(&mut self, at: usize) {
        self.registrations[at] = None;
    }
}
