//! What the load knows of an engine.

use std::{fmt::Debug, time::Instant};

use anyhow::Result;
use tailnet_harness::database::Database;
use tokio::sync::mpsc;
use uuid::Uuid;

/// A way to coordinate peers over Postgres, with four coordinators that hold the peers of [`crate::engines::pairs::Pairs`].
pub trait Engine: Debug {
    /// A peer announces this version of its node to its coordinator. Returns at once.
    fn announce(&self, place: usize, version: u64);

    /// Payloads of notifications that each coordinator has received so far.
    fn payloads(&self) -> Vec<u64>;
}

/// What does not change as long as an engine runs.
#[derive(Debug)]
pub struct Facts {
    /// The login in a place is the role of the coordinator in that place.
    pub database: Database,
    /// The table that holds the nodes of all peers, in its column `node`.
    pub table: &'static str,
    /// What its coordinators call, by a part of its text that nothing else has.
    pub kinds: &'static [(&'static str, &'static str)],
    pub ids: Vec<Uuid>,
    /// How many coordinators hear one notification.
    pub listeners: usize,
    /// Connections that its coordinators hold.
    pub connections: usize,
}

/// The partner's coordinator has the new node of a peer in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// Whose node.
    pub place: usize,
    /// Which one.
    pub version: u64,
    /// Since when.
    pub at: Instant,
}

/// What all coordinators of an engine hear, each in its order, or why one has failed.
pub type Ears = mpsc::UnboundedReceiver<Result<Vec<Heard>>>;

/// The other end of [`Ears`].
pub type Mouth = mpsc::UnboundedSender<Result<Vec<Heard>>>;
