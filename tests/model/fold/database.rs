//! The extension, what it has written to the logs, and what has been true: updates are checked against that.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tailnet_model::{
    call::Call,
    coordinators::COORDINATORS,
    event::{Binding, Event, Node, Session},
    guards::Guards,
    peers::{PEERS, Peer, Peers, Tunnels, peers},
    tables::{Fanout, Tables},
};
use uuid::Uuid;

/// The registration of a call is not current.
#[derive(Debug)]
pub struct Unregistered;

#[derive(Debug, Default)]
struct Channel {
    registration: Option<Uuid>,
    log: VecDeque<Vec<Event>>,
    written: usize,
}

#[derive(Debug)]
pub struct Database {
    pub tables: Tables,
    /// What has ever been true: (peer, partner, its node).
    pub visible: BTreeSet<(Peer, Peer, Node)>,
    /// How often the first peer had a reason to hear that the second left.
    pub parted: BTreeMap<(Peer, Peer), usize>,
    /// How often a peer was lost.
    pub lost: [usize; PEERS],
    /// Tunnels that the operator no longer allows.
    pub revoked: Tunnels,
    /// The tables were emptied at least once.
    crashed: bool,
    channels: [Channel; COORDINATORS],
    page_size: usize,
    sessions: [u8; PEERS],
    registrations: u128,
}

impl Database {
    pub fn new(page_size: usize) -> Self {
        Self {
            tables: Tables::empty([0; PEERS]),
            visible: BTreeSet::new(),
            parted: BTreeMap::new(),
            lost: [0; PEERS],
            revoked: Tunnels::default(),
            crashed: false,
            channels: Default::default(),
            page_size,
            sessions: [0; PEERS],
            registrations: 0,
        }
    }

    pub fn authenticate(&mut self, peer: Peer) -> Session {
        let number = &mut self.sessions[usize::from(peer)];
        *number += 1;
        Session { peer, number: *number }
    }

    pub fn register(&mut self, at: usize) -> Uuid {
        self.registrations += 1;
        let registration = Uuid::from_u128(self.registrations);
        self.tables.coordinators.register(at);
        let written = self.channels[at].written;
        self.channels[at] = Channel { registration: Some(registration), written, ..Channel::default() };
        registration
    }

    /// Until now everything that was written for this registration is lost.
    pub fn listen(&mut self, at: usize) {
        self.tables.coordinators.listen(at);
    }

    pub fn admit(&self, at: usize, registration: Uuid) -> Result<(), Unregistered> {
        (self.channels[at].registration == Some(registration)).then_some(()).ok_or(Unregistered)
    }

    pub fn run(&mut self, at: usize, session: Session, call: Call) {
        let (page, revoked) = (self.page_size, self.revoked.of(session.peer));
        let call = match call {
            Call::Open(dst) if revoked.contains(dst) => return,
            Call::Restore { node, tunnels } => {
                let tunnels: Peers = tunnels.iter().filter(|dst| !revoked.contains(*dst)).collect();
                Call::Restore { node, tunnels }
            }
            call => call,
        };
        self.transact(|tables| tables.run(at, session, call, page, &Guards::BUILT));
    }

    /// Another coordinator found this one silent.
    pub fn expire(&mut self, at: usize) {
        self.channels[at].registration = None;
        self.transact(|tables| tables.expire(at));
    }

    pub fn revoke(&mut self, src: Peer, dst: Peer) {
        self.revoked.insert(src, dst);
        self.may_part(src, dst);
        self.transact(|tables| tables.revoke(src, dst));
    }

    /// A coordinator sends its heartbeat. Time has no length here: it passes while both are registered. So the restoration after a crash
    /// is over when both are back and have restored their sessions.
    pub fn beat(&mut self, at: usize, restored: bool) {
        if (0..COORDINATORS).all(|at| self.tables.coordinators.get(at).is_some()) {
            self.tables.coordinators.pass_time(&[true; COORDINATORS]);
            self.transact(|tables| tables.beat(at, restored, &Guards::BUILT));
        }
    }

    /// The tables are emptied, and every connection is cut.
    pub fn crash(&mut self) {
        // Those that were lost are absent now. Of the others nobody may hear that they left.
        let tables = self.tables;
        for peer in peers().filter(|peer| tables.row(*peer).is_some_and(|row| row.coordinator.is_none())) {
            tables.tunnels.partners(peer).for_each(|partner| self.part(peer, partner));
        }
        self.crashed = true;
        self.tables = Tables::empty(self.tables.newest);
        self.channels = Default::default();
    }

    /// The next message of a log.
    pub fn deliver(&mut self, at: usize) -> Option<Vec<Event>> {
        self.channels[at].log.pop_front()
    }

    /// The number of messages that were written for a coordinator.
    pub fn written(&self, at: usize) -> usize {
        self.channels[at].written
    }

    /// The number of those that are not delivered yet.
    pub fn undelivered(&self, at: usize) -> usize {
        self.channels[at].log.len()
    }

    /// After a crash the tables may not tell any more why two peers part: this is why.
    pub fn may_part(&mut self, a: Peer, b: Peer) {
        if self.crashed {
            self.part(a, b);
        }
    }

    fn transact(&mut self, transaction: impl FnOnce(&mut Tables) -> Fanout) {
        let before = self.tables;
        let fanout = transaction(&mut self.tables);
        self.note(&before);
        for (at, (channel, events)) in self.channels.iter_mut().zip(fanout).enumerate() {
            if self.tables.coordinators.is_listening(at) && !events.is_empty() {
                channel.written += 1;
                channel.log.push_back(events);
            }
        }
    }

    /// What is true now, and what ended.
    fn note(&mut self, before: &Tables) {
        let after = self.tables;
        for peer in peers() {
            let left = before.row(peer).is_some() && after.row(peer).is_none();
            for other in before.tunnels.partners(peer) {
                let shared = after.tunnels.partners(peer).any(|partner| partner == other);
                // Each pair comes twice.
                if left || (!shared && peer < other && after.row(other).is_some() == before.row(other).is_some()) {
                    self.part(peer, other);
                }
            }
            let bindings = (before.binding(peer), after.binding(peer));
            self.lost[usize::from(peer)] +=
                usize::from(matches!(bindings, (Some(Binding::Ok(_)), Some(Binding::Lost))));
            for other in after.tunnels.partners(peer) {
                if let Some(node) = after.node(other) {
                    self.visible.insert((peer, other, node));
                }
            }
        }
    }

    fn part(&mut self, a: Peer, b: Peer) {
        for pair in [(a, b), (b, a)] {
            *self.parted.entry(pair).or_default() += 1;
        }
    }
}
