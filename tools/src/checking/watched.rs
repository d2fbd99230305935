//! What others see of a light peer.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};
use uuid::Uuid;

use super::account::Account;

/// Its books, and what it does now.
#[derive(Debug)]
pub struct Watched {
    pub(super) account: Mutex<Account>,
    /// Its websocket was closed by the proxy.
    pub closed: Notify,
    pub(super) reading: watch::Sender<bool>,
}

impl Watched {
    /// Its books.
    pub fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its peer id.
    pub fn id(&self) -> Uuid {
        self.account().identity.id
    }

    /// Lets it read its websocket, or not. A peer that does not read answers no pings.
    pub fn read(&self, reading: bool) {
        self.account().doings.stopped_reading |= !reading;
        self.reading.send_replace(reading);
    }
}
