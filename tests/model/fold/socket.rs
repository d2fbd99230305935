//! A websocket, as its peer sees it.

use std::{collections::BTreeMap, sync::Arc};

use tailnet_model::{
    event::{Binding, Session},
    peers::{PEERS, Peer},
    wire,
};
use tailnet_proxy::{message::Update, state::outbox::Outbox};
use tokio::sync::oneshot;

use crate::database::Database;

/// A websocket, and what its peer knows.
pub struct Socket {
    pub id: Session,
    pub proxy: usize,
    pub outbox: Arc<Outbox>,
    pub attached: Option<oneshot::Receiver<()>>,
    pub known: BTreeMap<Peer, Binding>,
    pub announced: Option<u8>,
    pub wished: BTreeMap<Peer, bool>,
    /// What had happened when it opened, and how often it was told of such things since.
    pub parted: BTreeMap<(Peer, Peer), usize>,
    pub lost: [usize; PEERS],
}

impl Socket {
    /// An update must be a change, and must have been true.
    pub fn hear(&mut self, update: &Update, database: &Database) {
        let (peer, (other, now)) = (self.id.peer, wire::known(update));
        let before = match now {
            Some(binding) => self.known.insert(other, binding),
            None => self.known.remove(&other),
        };
        match now {
            Some(Binding::Ok(node)) => {
                assert_ne!(before, now, "sent again without a change: {update:?}");
                assert!(database.visible.contains(&(peer, other, node)), "{peer} had no tunnel: {update:?}");
            }
            Some(Binding::Lost) => {
                assert!(matches!(before, Some(Binding::Ok(_))), "LOST after {before:?}");
                let told = &mut self.lost[usize::from(other)];
                *told += 1;
                assert!(*told <= database.lost[usize::from(other)], "{other} was not lost");
            }
            None => {
                assert!(before.is_some(), "DISCONNECTED about a peer that was never seen");
                let told = self.parted.entry((peer, other)).or_default();
                *told += 1;
                let parted = database.parted.get(&(peer, other)).copied().unwrap_or_default();
                assert!(*told <= parted, "{other} did not leave {peer}");
            }
        }
    }
}
