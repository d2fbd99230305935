//! Whether new sessions are taken, and why not.

use std::sync::atomic::{AtomicBool, Ordering};

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::watch;
use uuid::Uuid;

/// A proxy takes sessions while it is registered, its heartbeats are answered, and it does not drain.
#[derive(Debug, Default)]
pub struct Readiness {
    registration: watch::Sender<Option<Uuid>>,
    /// Postgres answers the heartbeats in time.
    answering: AtomicBool,
    draining: AtomicBool,
    /// Registered, and Postgres answers the heartbeats.
    connected: watch::Sender<bool>,
    shown: Gauge,
}

impl Readiness {
    /// Not ready, and shown here.
    pub fn new(shown: Gauge) -> Self {
        Self { shown, ..Self::default() }
    }

    /// Whether new sessions are taken.
    ///
    /// # Errors
    /// Says what is missing.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.draining() {
            Err("draining")
        } else if self.registration.borrow().is_none() {
            Err("not registered with Postgres")
        } else if !self.answering.load(Ordering::Acquire) {
            Err("Postgres does not answer")
        } else {
            Ok(())
        }
    }

    /// Follows the registration; None: there is none.
    pub fn registration(&self) -> watch::Receiver<Option<Uuid>> {
        self.registration.subscribe()
    }

    /// Follows whether this proxy reaches Postgres.
    pub fn connected(&self) -> watch::Receiver<bool> {
        self.connected.subscribe()
    }

    /// Whether the proxy drains.
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// This registration is current from now on.
    pub fn begin(&self, registration: Uuid) {
        self.answering.store(true, Ordering::Release);
        self.registration.send_replace(Some(registration));
        self.show();
    }

    /// This registration may have ended: it is not used any more.
    pub fn doubt(&self, registration: Uuid) {
        self.registration.send_if_modified(|current| {
            let doubted = *current == Some(registration);
            if doubted {
                *current = None;
            }
            doubted
        });
        self.show();
    }

    /// Notes whether Postgres answers the heartbeats in time.
    pub fn set_answering(&self, answering: bool) {
        self.answering.store(answering, Ordering::Release);
        self.show();
    }

    /// From now on no session is taken.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.show();
    }

    fn show(&self) {
        self.shown.set(i64::from(self.check().is_ok()));
        let connected = self.registration.borrow().is_some() && self.answering.load(Ordering::Acquire);
        self.connected.send_if_modified(|shown| std::mem::replace(shown, connected) != connected);
    }
}
