//! A configuration of the protocol: who does what, and what may break.

use tailnet_model::{guards::Guards, peers::Peer};

/// The only peer that opens tunnels. All others are agents.
pub const CLIENT: Peer = 0;

/// The client and two agents.
pub const PLANNED: usize = 3;

/// How often each fault happens at most: it keeps the state space finite.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Websockets end without a goodbye.
    pub breaks: u8,
    /// Websockets end with one.
    pub goodbyes: u8,
    /// Connections of proxies to the database are cut.
    pub cuts: u8,
    /// Proxies stop for longer than an expiry, and go on.
    pub stalls: u8,
    /// Proxies crash.
    pub deaths: u8,
    /// The database stops for longer than an expiry, and goes on.
    pub database_stalls: u8,
    /// The database crashes.
    pub crashes: u8,
}

/// One configuration of the model.
#[derive(Debug, Clone, Copy)]
pub struct Protocol {
    /// What the protocol does against the faults.
    pub guards: Guards,
    /// The coordinator of each session of each peer, in order.
    pub plan: [&'static [usize]; PLANNED],
    /// How many nodes a session announces.
    pub versions: u8,
    /// Most partners in a page of a view.
    pub page: usize,
    pub budget: Budget,
    /// The first session of each peer has announced a node and has its tunnels before anything happens.
    pub warm: bool,
}

impl Protocol {
    /// The peers and their plans.
    pub fn plans(&self) -> impl Iterator<Item = (Peer, &'static [usize])> {
        (0..).zip(self.plan)
    }
}
