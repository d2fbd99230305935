//! What the load knows of an engine.

use std::{fmt::Debug, time::Instant};

use anyhow::Result;
use tailnet_harness::database::Database;
use tokio::sync::mpsc;
use uuid::Uuid;

/// A way to coordinate peers over Postgres, with four coordinators that hold the peers of [`crate::engines::pairs::Pairs`].
pub trait Engine: Debug {
    /// Its database. The login in a place is the role of the coordinator in that place.
    fn database(&self) -> &Database;

    /// Ends it; the database is left.
    fn into_database(self: Box<Self>) -> Database;

    /// The table that holds the nodes of all peers, in its column `node`.
    fn table(&self) -> &'static str;

    /// What its coordinators call, by a part of its text that nothing else has.
    fn kinds(&self) -> &'static [(&'static str, &'static str)];

    fn ids(&self) -> &[Uuid];

    /// A peer announces this version of its node to its coordinator. Returns at once.
    fn announce(&self, place: usize, version: u64);

    /// Payloads of notifications that each coordinator has received so far.
    fn payloads(&self) -> Vec<u64>;

    /// How many coordinators hear one notification.
    fn listeners(&self) -> usize;

    /// Connections that its coordinators hold.
    fn connections(&self) -> usize;
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
