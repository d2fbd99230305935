//! What a peer was told, in order, and what of it a test has accounted for.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tailnet_tools::message::{Kind, Message, Update};
use tokio::sync::Notify;
use uuid::Uuid;

/// Filled by the task that reads the websocket, emptied by expectations.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    record: Mutex<Record>,
    changed: Notify,
}

#[derive(Debug, Default)]
pub(super) struct Record {
    updates: Vec<Entry<Update>>,
    errors: Vec<Entry<String>>,
    acknowledged: Vec<Entry<Uuid>>,
    pub(super) closed: Option<(Option<u16>, String)>,
}

#[derive(Debug)]
struct Entry<T> {
    value: T,
    accounted: bool,
}

/// The updates about one peer come in two streams, each in order by itself: what it is, and that it is ready. A proxy
/// may tell either first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Binding,
    Ready,
}

impl Stream {
    pub(super) fn of(kind: Kind) -> Self {
        if kind == Kind::ReadyForHandshake { Self::Ready } else { Self::Binding }
    }
}

impl Inbox {
    /// Adds what arrived.
    pub(super) fn push(&self, message: Message) {
        let mut record = self.lock();
        let new = |value| Entry { value, accounted: false };
        match message {
            Message::Updates(updates) => record.updates.extend(updates.into_iter().map(new)),
            Message::Acknowledged(ids) => {
                record.acknowledged.extend(ids.into_iter().map(|id| Entry { value: id, accounted: false }));
            }
            Message::Error(error) => record.errors.push(Entry { value: error, accounted: false }),
            Message::Closed { code, reason } => record.closed = Some((code, reason)),
        }
        drop(record);
        self.changed.notify_waiters();
    }

    /// Looks at the record now and after each change until `look` finds something.
    pub(super) async fn wait<T>(&self, look: impl Fn(&mut Record) -> Option<T>) -> T {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            if let Some(found) = look(&mut self.lock()) {
                return found;
            }
            changed.await;
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    /// The oldest update of a stream that was not accounted for, which now is if `take` says so.
    pub(super) fn next(&mut self, id: Uuid, stream: Stream, take: impl FnOnce(&Update) -> bool) -> Option<Update> {
        let is_next = |entry: &&mut Entry<Update>| {
            !entry.accounted && entry.value.id == id && Stream::of(entry.value.kind) == stream
        };
        let entry = self.updates.iter_mut().find(is_next)?;
        entry.accounted = take(&entry.value);
        Some(entry.value.clone())
    }

    /// The oldest error that was not accounted for, which now is.
    pub(super) fn next_error(&mut self) -> Option<String> {
        let entry = self.errors.iter_mut().find(|entry| !entry.accounted)?;
        entry.accounted = true;
        Some(entry.value.clone())
    }

    /// Whether all of these reports are acknowledged, which then are accounted for.
    pub(super) fn acknowledge(&mut self, ids: &[Uuid]) -> bool {
        let mut found = Vec::new();
        for id in ids {
            let is_it = |entry: &Entry<Uuid>| !entry.accounted && entry.value == *id;
            let Some(index) = self.acknowledged.iter().position(is_it) else { return false };
            found.push(index);
        }
        found.into_iter().for_each(|index| self.acknowledged[index].accounted = true);
        true
    }

    /// All reports that were acknowledged.
    pub(super) fn acknowledged(&self) -> impl ExactSizeIterator<Item = Uuid> {
        self.acknowledged.iter().map(|entry| entry.value)
    }

    /// What the newest update of a stream says.
    pub(super) fn last(&self, id: Uuid, stream: Stream) -> Option<Kind> {
        let mut kinds = self.updates.iter().filter(|entry| entry.value.id == id).map(|entry| entry.value.kind);
        kinds.rfind(|kind| Stream::of(*kind) == stream)
    }

    /// How often this was told of a peer.
    pub(super) fn count(&self, id: Uuid, kind: Kind) -> usize {
        self.updates.iter().filter(|entry| entry.value.id == id && entry.value.kind == kind).count()
    }

    /// Forgets what was not accounted for about a peer.
    pub(super) fn forgive(&mut self, id: Uuid) {
        for entry in self.updates.iter_mut().filter(|entry| entry.value.id == id) {
            entry.accounted = true;
        }
    }

    /// Whether everything that arrived is accounted for.
    pub(super) fn is_accounted(&self) -> bool {
        self.updates.iter().all(|entry| entry.accounted)
            && self.errors.iter().all(|entry| entry.accounted)
            && self.acknowledged.iter().all(|entry| entry.accounted)
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = |accounted| if accounted { ' ' } else { '*' };
        for Entry { value, accounted } in &self.updates {
            let Update { id, kind, node, reason } = value;
            let version = node.as_ref().map(|node| format!(" version {} as_of {}", node["id"], node["as_of"]));
            let reason = reason.as_ref().map(|reason| format!(" ({reason})"));
            let (version, reason) = (version.unwrap_or_default(), reason.unwrap_or_default());
            writeln!(f, "  {} {kind:?} {id}{version}{reason}", mark(*accounted))?;
        }
        for Entry { value, accounted } in &self.errors {
            writeln!(f, "  {} error {value:?}", mark(*accounted))?;
        }
        for Entry { value, accounted } in self.acknowledged.iter().filter(|entry| !entry.accounted) {
            writeln!(f, "  {} acknowledged {value}", mark(*accounted))?;
        }
        match &self.closed {
            Some((code, reason)) => writeln!(f, "    closed with {code:?} {reason:?}"),
            None => writeln!(f, "    still open"),
        }
    }
}
