//! The reader of a light peer's websocket.

use std::sync::Arc;

use super::{
    account::{Closing, Ended},
    watched::Watched,
};
use crate::{message::Message, websocket::Receiver};

/// Keeps the books of one websocket.
pub(super) struct Books {
    pub(super) watched: Arc<Watched>,
    /// Which of the peer's websockets it is.
    pub(super) serial: u64,
    pub(super) proxy: String,
}

impl Books {
    /// Until it is closed.
    pub(super) async fn keep(self, mut receiver: Receiver) {
        let mut reading = self.watched.reading.subscribe();
        loop {
            if reading.wait_for(|reading| *reading).await.is_err() {
                return;
            }
            let message = tokio::select! {
                message = receiver.next() => message,
                _ = reading.changed() => continue,
            };
            if self.book(message) {
                self.watched.closed.notify_one();
                return;
            }
        }
    }

    /// Whether it was the last.
    fn book(&self, message: Message) -> bool {
        let mut account = self.watched.account();
        let superseded = account.serial != self.serial;
        match message {
            Message::Updates(updates) if !superseded => {
                updates.iter().for_each(|update| account.received.push(update));
            }
            Message::Updates(_) | Message::Acknowledged(_) | Message::Resume { .. } => {}
            Message::Error(error) => account.doings.errors.push(error),
            Message::Closed { code, reason } => {
                account.received.did(&format!("closed by {} with {code:?} {reason:?}", self.proxy));
                let superseded_soon = superseded || account.taking_over;
                let proxy = self.proxy.clone();
                account.doings.closings.push(Closing { proxy, code, reason, superseded: superseded_soon });
                let was_away = account.doings.was_away;
                match superseded {
                    true => account.retired -= 1,
                    // A goodbye is booked by who said it.
                    false if code == Some(1000) => {}
                    false => account.ended(Ended::Lost),
                }
                if superseded_soon {
                    // The other websocket takes its place.
                    account.doings.was_away = was_away;
                }
                return true;
            }
        }
        false
    }
}
