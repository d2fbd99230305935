//! A configuration of the protocol: who does what, and what may break.

use tailnet_model::{guards::Guards, peers::Peer};

/// The only peer that opens tunnels. All others are agents.
pub const CLIENT: Peer = 0;

/// The client and two agents.
pub const PLANNED: usize = 3;

/// What may break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A websocket ends without a goodbye.
    Break,
    /// A websocket ends with one.
    Goodbye,
    /// Some connection of a proxy to the database is cut.
    Cut,
    /// A proxy stops for longer than an expiry, and goes on.
    Stall,
    /// A proxy crashes.
    Die,
    /// The database stops for longer than an expiry, and goes on.
    StallDatabase,
    /// The database crashes.
    Crash,
}

pub const FAULTS: usize = 7;

/// How often each fault may still happen.
pub type Budget = [u8; FAULTS];

#[derive(Debug, Clone, Copy)]
pub struct Protocol {
    pub guards: Guards,
    /// The coordinator of each session of each peer, in order.
    pub plan: [&'static [usize]; PLANNED],
    /// How many nodes a session announces.
    pub versions: u8,
    /// Most partners in a page of a view.
    pub page: usize,
    /// How often each fault happens at most: it keeps the state space finite. The others do not happen.
    pub faults: &'static [(Fault, u8)],
    /// The first session of each peer has announced a node and has its tunnels before anything happens.
    pub warm: bool,
}

impl Protocol {
    pub fn plans(&self) -> impl Iterator<Item = (Peer, &'static [usize])> {
        (0..).zip(self.plan)
    }

    pub fn budget(&self) -> Budget {
        let mut budget = Budget::default();
        self.faults.iter().for_each(|(fault, times)| budget[*fault as usize] = *times);
        budget
    }
}
