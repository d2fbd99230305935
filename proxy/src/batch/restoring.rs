//! Whether the sessions that a registration found are restored.
//!
//! After a crash of the database, absence is settled only when every coordinator says in its heartbeat that it has restored
//! all its sessions. Each request that restores holds a token until it is committed. When the last token is dropped, all
//! are restored.

use std::sync::{Arc, Mutex, MutexGuard, Weak};

use tokio::sync::Notify;

/// A token: a request holds it for as long as it waits or is in flight.
#[derive(Debug, Clone)]
pub struct Restoring(#[expect(dead_code, reason = "only its end matters")] Arc<Done>);

#[derive(Debug)]
struct Done(Arc<Notify>);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// Follows the tokens of the latest registration.
#[derive(Debug, Default)]
pub struct Restoration {
    latest: Mutex<Weak<Done>>,
    done: Arc<Notify>,
}

impl Restoration {
    /// A registration begins: the first token of those to come.
    pub fn begin(&self) -> Restoring {
        let done = Arc::new(Done(Arc::clone(&self.done)));
        *self.lock() = Arc::downgrade(&done);
        Restoring(done)
    }

    /// Whether nothing of the latest registration is still to be restored.
    pub fn is_done(&self) -> bool {
        self.lock().strong_count() == 0
    }

    /// Waits until the tokens of a registration are gone. That may be an earlier one: [`Restoration::is_done`] says it of the
    /// latest.
    pub async fn done(&self) {
        self.done.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Weak<Done>> {
        self.latest.lock().expect("no code panics with this lock held")
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn the_last_token_of_the_latest_registration_counts() {
        let restoration = Restoration::default();
        let earlier = restoration.begin();
        let one = restoration.begin();
        let two = one.clone();
        assert!(restoration.done().now_or_never().is_none());
        drop((earlier, one));
        assert!(!restoration.is_done());
        drop(two);
        assert!(restoration.is_done());
        assert!(restoration.done().now_or_never().is_some());
    }
}
