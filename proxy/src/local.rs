//! A peer whose session is held by this proxy: its partners and what it was told of them.
//!
//! *Covered* are the partners that the pages of its view have reached in this registration's log. About those the
//! state is exactly what the tables said at this place of the log. Partners further on stand still until their page
//! comes: an event about one of them may rest on a tunnel that was closed while the proxy was not listening.
//!
//! *Withheld* is the news that a partner is absent, until the log is settled: a crash empties the tables, and then a
//! partner that is missing may just not have been restored yet. That it is there is told at once.

use std::{
    collections::{BTreeSet, HashSet},
    ops::Bound,
    sync::Arc,
};

use serde_json::value::RawValue;
use tailnet_wire::{Binding, Partner};
use uuid::Uuid;

use crate::{
    outbox::Outbox,
    partners::Partners,
    told::Told,
    wishes::{Wish, Wishes},
};

/// One end of a tunnel, seen from the local peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The local peer opened it.
    Outbound,
    /// The partner opened it.
    Inbound,
}

/// A local peer.
#[derive(Debug)]
pub struct Local {
    /// The number of its session.
    pub session: i64,
    /// Where its updates go.
    pub outbox: Arc<Outbox>,
    /// The last node that it announced.
    pub node: Option<Arc<RawValue>>,
    /// The tunnels that it asked for and that the log may not tell yet.
    pub wishes: Wishes,
    /// A restore with its tunnels was taken, and is not known to be committed.
    pub restoring: bool,
    partners: Partners<Relation>,
    covered: Coverage,
    /// Partners that are absent, and the peer does not know.
    withheld: BTreeSet<Uuid>,
}

/// What a local peer has with a partner.
#[derive(Debug, Default)]
struct Relation {
    outbound: bool,
    inbound: bool,
    /// It was inbound, and the partner may not have restored that yet.
    doubtful: bool,
    told: Told,
}

impl Relation {
    fn has_tunnel(&self) -> bool {
        self.outbound || self.inbound
    }
}

/// How far the pages of the view have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Coverage {
    Nothing,
    UpTo(Uuid),
    All,
}

/// What a session needs to stand again under a new registration.
#[derive(Debug, Default)]
pub struct Standing {
    /// The last node that it announced.
    pub node: Option<Arc<RawValue>>,
    /// The other ends of the tunnels that it opened.
    pub tunnels: Vec<Uuid>,
}

/// What a page changed.
#[derive(Debug, Default)]
pub struct Turned {
    /// New partners.
    pub added: Vec<Uuid>,
    /// Those that are partners no more.
    pub removed: Vec<Uuid>,
    /// The next page starts behind this key.
    pub next: Option<Uuid>,
}

impl Local {
    /// A peer of which nothing is known yet.
    pub fn new(session: i64, outbox: Arc<Outbox>) -> Self {
        Self {
            session,
            outbox,
            node: None,
            wishes: Wishes::default(),
            restoring: false,
            partners: Partners::default(),
            covered: Coverage::Nothing,
            withheld: BTreeSet::new(),
        }
    }

    /// A new log begins: what is known stands still until the pages come again.
    pub fn uncover(&mut self) {
        self.covered = Coverage::Nothing;
    }

    /// Whether all pages of the view have come.
    pub fn is_covered(&self) -> bool {
        self.covered == Coverage::All
    }

    /// The keys of all partners.
    pub fn partners(&self) -> impl Iterator<Item = Uuid> {
        self.partners.iter().map(|(id, _)| id)
    }

    /// What the peer knows of `other`, or has waiting in its outbox.
    pub fn told(&self, other: Uuid) -> Told {
        self.partners.get(other).map_or(Told::Nothing, |relation| relation.told)
    }

    /// The binding of a partner changed; None: it left.
    pub fn changed(&mut self, other: Uuid, binding: Option<&Binding>) {
        // One without a tunnel is only remembered.
        let knows = |relation: &Relation| relation.has_tunnel() || binding.is_none();
        if self.covers(other) && self.partners.get(other).is_some_and(knows) {
            self.tell(other, binding);
        }
    }

    /// A tunnel was opened. Whether `other` is a new partner.
    pub fn opened(&mut self, other: Uuid, direction: Direction, binding: Option<&Binding>) -> bool {
        if !self.covers(other) {
            return false;
        }
        let new = self.partners.add(other);
        let relation = self.partners.get_mut(other).expect("it was just added");
        match direction {
            Direction::Outbound => relation.outbound = true,
            Direction::Inbound => (relation.inbound, relation.doubtful) = (true, false),
        }
        if binding.is_some() {
            self.tell(other, binding);
        }
        new
    }

    /// A tunnel was closed. Whether `other` was a partner and is one no more.
    pub fn closed(&mut self, other: Uuid, direction: Direction, settled: bool) -> bool {
        if !self.covers(other) {
            return false;
        }
        let Some(relation) = self.partners.get_mut(other) else { return false };
        match direction {
            Direction::Outbound => relation.outbound = false,
            Direction::Inbound => (relation.inbound, relation.doubtful) = (false, false),
        }
        let settled = settled || !relation.doubtful;
        !relation.has_tunnel() && self.absent(other, settled)
    }

    /// A page of the view: the truth for the keys in (after, until].
    pub fn turn(&mut self, after: Option<Uuid>, until: Option<Uuid>, page: &[Partner], settled: bool) -> Turned {
        if after.is_some_and(|after| self.covered < Coverage::UpTo(after)) {
            return Turned::default(); // its predecessors did not come: another chain of pages is on its way
        }
        let listed: HashSet<Uuid> = page.iter().map(|partner| partner.id).collect();
        let range = (after.map_or(Bound::Unbounded, Bound::Excluded), until.map_or(Bound::Unbounded, Bound::Included));
        let mut removed = self.partners.keys_in(range);
        removed.retain(|other| {
            if listed.contains(other) {
                return false;
            }
            let relation = self.partners.get_mut(*other).expect("it was just listed");
            relation.doubtful |= relation.inbound;
            (relation.outbound, relation.inbound) = (false, false);
            self.absent(*other, settled)
        });
        let mut added = Vec::new();
        for partner in page {
            if self.partners.add(partner.id) {
                added.push(partner.id);
            }
            let relation = self.partners.get_mut(partner.id).expect("it was just added");
            relation.doubtful = !settled && !partner.inbound && (relation.inbound || relation.doubtful);
            (relation.outbound, relation.inbound) = (partner.outbound, partner.inbound);
            match &partner.binding {
                None if !settled => self.withhold(partner.id),
                binding => self.tell(partner.id, binding.as_ref()),
            }
        }
        let reached = until.map_or(Coverage::All, Coverage::UpTo);
        let further = reached > self.covered;
        self.covered = self.covered.max(reached);
        Turned { added, removed, next: until.filter(|_| further) }
    }

    /// Whether the peer does not know of the absence of some partner.
    pub fn withholds(&self) -> bool {
        !self.withheld.is_empty()
    }

    /// What is absent is absent: tells what was withheld. Returns those that are partners no more. Partners further on
    /// have their page still to come.
    pub fn settle(&mut self) -> Vec<Uuid> {
        let mut absent: Vec<Uuid> = self.withheld.iter().copied().filter(|other| self.covers(*other)).collect();
        absent.retain(|other| {
            self.tell(*other, None);
            self.partners.get(*other).is_some_and(|relation| !relation.has_tunnel())
        });
        for other in &absent {
            self.partners.remove(*other);
        }
        absent
    }

    /// What it takes to restore the session: the tunnels of the log, corrected by what the peer asked for since.
    pub fn standing(&self) -> Standing {
        let logged = self.partners.iter().filter(|(_, relation)| relation.outbound).map(|(id, _)| id);
        let kept = logged.filter(|id| self.wishes.get(*id).is_none());
        let tunnels = kept.chain(self.wishes.iter().filter(|(_, wish)| *wish == Wish::Open).map(|(id, _)| id));
        Standing { node: self.node.clone(), tunnels: tunnels.collect() }
    }

    fn covers(&self, other: Uuid) -> bool {
        Coverage::UpTo(other) <= self.covered
    }

    fn tell(&mut self, other: Uuid, binding: Option<&Binding>) {
        let Some(relation) = self.partners.get_mut(other) else { return };
        self.withheld.remove(&other);
        let told = relation.told;
        if told.then(binding) != told {
            relation.told = self.outbox.tell(other, told, binding);
        }
    }

    /// No tunnel to a partner is left. Whether it is a partner no more.
    fn absent(&mut self, other: Uuid, settled: bool) -> bool {
        self.withhold(other);
        if !settled && self.withheld.contains(&other) {
            return false;
        }
        self.part(other);
        true
    }

    /// There is nothing to withhold from a peer that was told nothing.
    fn withhold(&mut self, other: Uuid) {
        if self.told(other) != Told::Nothing {
            self.withheld.insert(other);
        }
    }

    fn part(&mut self, other: Uuid) {
        self.tell(other, None);
        self.partners.remove(other);
    }
}
