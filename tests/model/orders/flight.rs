//! Calls of a proxy, from the time they are sent until they are committed or nobody can commit them any more.

use tailnet_model::{call::Call, event::Session, tables::Tables};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flight {
    /// Of which coordinator.
    pub at: usize,
    pub session: Session,
    /// With what was read when it was sent.
    pub call: Call,
    /// The proxy gave it up: if it is committed, nobody learns so.
    pub orphan: bool,
    /// Without the networks' locks: what it read before it writes.
    pub seen: Option<Box<Tables>>,
}
