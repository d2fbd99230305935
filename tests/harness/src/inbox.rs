//! What a peer was told, in order, and which of it the test has expected.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tailnet_tools::message::{Kind, Message, Update};
use tokio::sync::Notify;
use uuid::Uuid;

/// The task that reads the websocket fills it.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    record: Mutex<Record>,
    changed: Notify,
}

#[derive(Debug, Default)]
pub(crate) struct Record {
    updates: Vec<Entry<Update>>,
    errors: Vec<Entry<String>>,
    acknowledged: Vec<Entry<Uuid>>,
    pub(crate) closed: Option<(Option<u16>, String)>,
}

#[derive(Debug)]
struct Entry<T> {
    value: T,
    expected: bool,
}

/// The proxy sends two streams of updates about a peer: its state, and that it is ready for a handshake. Each stream keeps
/// its order; the order between the two is open.
fn is_ready(kind: Kind) -> bool {
    kind == Kind::ReadyForHandshake
}

fn entry<T>(value: T) -> Entry<T> {
    Entry { value, expected: false }
}

impl Inbox {
    pub(crate) fn push(&self, message: Message) {
        let mut record = self.lock();
        match message {
            Message::Updates(updates) => record.updates.extend(updates.into_iter().map(entry)),
            Message::Acknowledged(ids) => record.acknowledged.extend(ids.into_iter().map(entry)),
            // It comes first, and the harness takes it before the inbox is filled.
            Message::Resume { .. } => record.errors.push(entry("a second resume token".to_owned())),
            Message::Error(error) => record.errors.push(entry(error)),
            Message::Closed { code, reason } => record.closed = Some((code, reason)),
        }
        drop(record);
        self.changed.notify_waiters();
    }

    /// Looks at the record now and after each change until `look` finds something.
    pub(crate) async fn wait<T>(&self, look: impl Fn(&mut Record) -> Option<T>) -> T {
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

    pub(crate) fn lock(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    /// Takes the updates about a peer as expected, up to the first that `is_it`. All of them must be of this kind: Err is
    /// the first that is not.
    pub(crate) fn take(&mut self, id: Uuid, kind: Kind, is_it: impl Fn(&Update) -> bool) -> Option<Result<(), Kind>> {
        for entry in self.updates.iter_mut().filter(|entry| !entry.expected && entry.value.id == id) {
            if is_ready(entry.value.kind) != is_ready(kind) {
                continue;
            }
            if entry.value.kind != kind {
                return Some(Err(entry.value.kind));
            }
            entry.expected = true;
            if is_it(&entry.value) {
                return Some(Ok(()));
            }
        }
        None
    }

    /// The oldest error that was not expected, which now is.
    pub(crate) fn take_error(&mut self) -> Option<String> {
        let entry = self.errors.iter_mut().find(|entry| !entry.expected)?;
        entry.expected = true;
        Some(entry.value.clone())
    }

    /// Whether all of these reports are acknowledged, each once more than was expected. Then all of that is expected.
    pub(crate) fn take_acknowledged(&mut self, ids: &[Uuid]) -> bool {
        let mut found = Vec::new();
        for id in ids {
            let is_it = |entry: &Entry<Uuid>| !entry.expected && entry.value == *id;
            let Some(index) = self.acknowledged.iter().position(is_it) else { return false };
            found.push(index);
        }
        found.into_iter().for_each(|index| self.acknowledged[index].expected = true);
        true
    }

    pub(crate) fn acknowledged(&self) -> impl ExactSizeIterator<Item = Uuid> {
        self.acknowledged.iter().map(|entry| entry.value)
    }

    /// The kind of the newest update about a peer, in the stream of `kind`.
    pub(crate) fn last(&self, id: Uuid, kind: Kind) -> Option<Kind> {
        let mut kinds = self.updates.iter().filter(|entry| entry.value.id == id).map(|entry| entry.value.kind);
        kinds.rfind(|other| is_ready(*other) == is_ready(kind))
    }

    pub(crate) fn count(&self, id: Uuid, kind: Kind) -> usize {
        self.updates.iter().filter(|entry| entry.value.id == id && entry.value.kind == kind).count()
    }

    /// Takes all updates about a peer as expected.
    pub(crate) fn forgive(&mut self, id: Uuid) {
        self.updates.iter_mut().filter(|entry| entry.value.id == id).for_each(|entry| entry.expected = true);
    }

    /// Whether the test expected everything that arrived.
    pub(crate) fn is_expected(&self) -> bool {
        self.updates.iter().all(|entry| entry.expected)
            && self.errors.iter().all(|entry| entry.expected)
            && self.acknowledged.iter().all(|entry| entry.expected)
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = |expected| if expected { ' ' } else { '*' };
        for Entry { value: Update { id, kind, node, reason }, expected } in &self.updates {
            write!(f, "  {} {kind:?} {id}", mark(*expected))?;
            if let Some(node) = node {
                write!(f, " version {} as_of {}", node["id"], node["as_of"])?;
            }
            writeln!(f, "{}", reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default())?;
        }
        for Entry { value, expected } in &self.errors {
            writeln!(f, "  {} error {value:?}", mark(*expected))?;
        }
        for Entry { value, expected } in self.acknowledged.iter().filter(|entry| !entry.expected) {
            writeln!(f, "  {} acknowledged {value}", mark(*expected))?;
        }
        match &self.closed {
            Some((code, reason)) => writeln!(f, "    closed with {code:?} {reason:?}"),
            None => writeln!(f, "    still open"),
        }
    }
}
