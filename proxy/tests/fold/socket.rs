//! A websocket, as its peer sees it.

use std::{collections::BTreeMap, sync::Arc};

use tailnet_proxy::{
    message::{Change, Update},
    state::outbox::Outbox,
};
use tailnet_wire::SessionId;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::model::{Model, Status};

/// A websocket, and what its peer knows.
pub struct Socket {
    pub id: SessionId,
    pub proxy: usize,
    pub outbox: Arc<Outbox>,
    pub attached: Option<oneshot::Receiver<()>>,
    pub known: BTreeMap<Uuid, Status>,
    pub announced: Option<i64>,
    pub wished: BTreeMap<Uuid, bool>,
    /// What had happened when it opened, and how often it was told of such things since.
    pub parted: BTreeMap<(Uuid, Uuid), usize>,
    pub lost: BTreeMap<Uuid, usize>,
}

impl Socket {
    /// An update must be a change, and must have been true.
    pub fn hear(&mut self, update: &Update, model: &Model) {
        let (peer, other) = (self.id.peer, update.id);
        let before = self.known.get(&other).copied();
        match &update.change {
            Change::Node(node) => {
                let node = node.as_str().parse().expect("nodes are numbers here");
                assert_ne!(before, Some(Status::Ok(node)), "sent again without a change: {update:?}");
                assert!(model.visible.contains(&(peer, other, node)), "{peer} had no tunnel: {update:?}");
                self.known.insert(other, Status::Ok(node));
            }
            Change::Lost => {
                assert!(matches!(before, Some(Status::Ok(_))), "LOST after {before:?}");
                let told = self.lost.entry(other).or_default();
                *told += 1;
                assert!(*told <= model.lost.get(&other).copied().unwrap_or_default(), "{other} was not lost");
                self.known.insert(other, Status::Lost);
            }
            Change::Disconnected => {
                assert!(before.is_some(), "DISCONNECTED about a peer that was never seen");
                let told = self.parted.entry((peer, other)).or_default();
                *told += 1;
                assert!(
                    *told <= model.parted.get(&(peer, other)).copied().unwrap_or_default(),
                    "{other} did not leave {peer}"
                );
                self.known.remove(&other);
            }
            Change::ReadyForHandshake => unreachable!("no handshakes here"),
        }
    }
}
