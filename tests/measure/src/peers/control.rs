//! What the benchmark and its load processes say to each other: one JSON object a line, an answer for each command.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use tailnet_tools::websocket::Protocol;
use uuid::Uuid;

use crate::{common::network::Credentials, peers::clock::Moment};

/// What a load process is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Who it is. Comes first, and once.
    Hold(Hold),
    /// All peers connect, announce their first nodes, and open their tunnels.
    Connect,
    /// Peers announce nodes at a steady rate.
    Update(Update),
    /// Each peer announces a node, and the next one when its partner was told, until this moment.
    Saturate(Moment),
    /// All peers of these ends announce their next node at once.
    Announce(Vec<End>),
    /// Answered when every peer was told the newest node of its partner.
    Await,
    /// Answered with the versions of the nodes that were announced last.
    Recite,
    /// From now on peers are told of a hub.
    Expect(Hub),
    /// Answered when all of them were told what was expected of it last.
    AwaitHub,
    /// Answered with what happened so far.
    Report,
}

/// The peers of a load process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Hold {
    /// Where agents connect to, and where clients do. The pairs use them in turn.
    pub proxies: Vec<[SocketAddr; 2]>,
    /// An agent, and the client that opens a tunnel to it.
    pub pairs: Vec<[Credentials; 2]>,
    /// What all of them speak.
    pub protocol: Protocol,
    /// The most websockets to the proxies of one end that are being opened.
    pub in_flight: usize,
}

/// One of the two peers of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    Agent,
    Client,
}

/// A steady load.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Update {
    /// How many are due a second, of this process.
    pub per_second: f64,
    /// When the first is due.
    pub begin: Moment,
    /// For how many seconds some are due.
    pub seconds: f64,
    /// Of these the first are not measured: the system gets into its stride.
    pub unmeasured_seconds: f64,
    /// The order of the peers follows from it.
    pub seed: u64,
}

/// A hub that has a tunnel to the first peers of a load process.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Hub {
    pub id: Uuid,
    /// To how many.
    pub peers: usize,
    /// The version of the node that it announces; 0: it is about to be lost.
    pub version: u64,
}

/// What a load process says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Ready,
    /// How far the connecting is. More will follow.
    Progress(Progress),
    /// Every view is right; the last since then.
    Right(Moment),
    /// The updates are over, and each partner was told its own.
    Updated(Updated),
    /// They were written; the last then.
    Announced(Moment),
    /// Versions, pair by pair, agents first.
    Said(Vec<u64>),
    Totals(Totals),
    /// It cannot go on.
    Failed(String),
}

/// How far a load process is.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Progress {
    pub at: Moment,
    /// Websockets that are open.
    pub connected: usize,
    /// Peers that were told the newest node of their partners.
    pub right: usize,
}

/// What came of a steady load, in microseconds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Updated {
    /// From when each measured update was due to when its partner's frame was read.
    pub latencies: Vec<u32>,
    /// From when each measured update was due to when its frame was written: how late the load process was itself.
    pub lateness: Vec<u32>,
    /// Updates that were due, unmeasured ones included.
    pub due: u64,
    /// Of how many the partner was told a later one only.
    pub merged: u64,
    /// When the last partner had been told.
    pub heard: Option<Moment>,
}

/// What happened since a load process started. All but the first two should be nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Nodes that peers were told.
    pub told: u64,
    /// Attempts to connect that the proxy put off with 503, or refused at the socket.
    pub put_off: u64,
    /// Nodes in frames that were correct, and not byte for byte what was expected.
    pub unusual: u64,
    /// Nodes that were told again without a change.
    pub repeated: u64,
    /// LOST about a partner that was connected.
    pub lost: u64,
    /// DISCONNECTED about a partner that was connected.
    pub disconnected: u64,
    /// Websockets that ended.
    pub closed: u64,
    /// What else a peer was told that was not so, such as a node that nobody announced: the first few.
    pub wrong: Vec<String>,
}

impl Totals {
    /// What peers were told must be so, whatever failed.
    pub fn expect_all_true(&self) -> Result<()> {
        ensure!(self.wrong.is_empty(), "{}", self.wrong.join("; "));
        Ok(())
    }

    /// When nothing failed, nothing may have ended either.
    pub fn expect_undisturbed(&self) -> Result<()> {
        self.expect_all_true()?;
        let Self { closed, lost, disconnected, .. } = self;
        ensure!(
            closed + lost + disconnected == 0,
            "{closed} websockets ended; peers were told of {lost} lost and {disconnected} disconnected partners"
        );
        Ok(())
    }

    /// Adds those of another process.
    pub fn add(&mut self, other: Self) {
        self.told += other.told;
        self.put_off += other.put_off;
        self.unusual += other.unusual;
        self.repeated += other.repeated;
        self.lost += other.lost;
        self.disconnected += other.disconnected;
        self.closed += other.closed;
        self.wrong.extend(other.wrong);
    }
}
