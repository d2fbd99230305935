//! A local peer: one whose session this proxy holds. Its partners, and what it was told of them.
//!
//! *Covered* are the partners that the pages of the peer's view have reached in this registration's log. For them the state
//! is exactly what the tables said at this place of the log. The state of all other partners does not change until their
//! page comes: an event about one of them may rest on a tunnel that was closed while the proxy was not listening.
//!
//! *Withheld* is the news that a partner is absent, until absence is settled: a crash empties the tables, and then a
//! partner that is missing may only not be restored yet. The news that a partner is there is told at once.

use std::{
    collections::{BTreeSet, HashSet},
    ops::Bound,
    sync::Arc,
};

use tailnet_wire::{Binding, Node, Partner};
use uuid::Uuid;

use crate::{
    batch::request::Proof,
    message::Wish,
    state::{outbox::Outbox, partners::Partners, told::Told, wishes::Wishes},
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
#[derive(Debug, PartialEq, Eq)]
pub struct Local {
    /// The number of its session.
    pub session: i64,
    /// Proves that number.
    pub proof: Proof,
    /// The only peer that it may have a tunnel to; None: policy alone decides.
    pub only: Option<Uuid>,
    /// Where its updates go.
    pub outbox: Arc<Outbox>,
    /// The last node that it announced.
    pub node: Option<Node>,
    /// The tunnels that it asked for and that the log may not tell yet.
    pub wishes: Wishes,
    /// A worker has taken a restore of the session, and it is not known to be committed.
    pub restoring: bool,
    pub(super) partners: Partners<Partnership>,
    pub(super) covered: Coverage,
    /// Partners that are absent, which the peer does not know yet.
    pub(super) withheld: BTreeSet<Uuid>,
}

/// What a local peer has with a partner.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Partnership {
    outbound: bool,
    inbound: bool,
    /// There was an inbound tunnel, and the partner's proxy may not have restored it yet.
    doubtful: bool,
    told: Told,
}

impl Partnership {
    fn has_tunnel(&self) -> bool {
        self.outbound || self.inbound
    }
}

/// How far the pages of the view have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Coverage {
    Nothing,
    UpTo(Uuid),
    All,
}

/// What is written to restore a session under a new registration.
#[derive(Debug, Default)]
pub struct RestoreState {
    /// Proves the number of the session.
    pub proof: Proof,
    /// The only peer that it may have a tunnel to.
    pub only: Option<Uuid>,
    /// The last node that it announced.
    pub node: Option<Node>,
    /// The other ends of the tunnels that it opened.
    pub tunnels: Vec<Uuid>,
}

/// What a page of the view changed.
#[derive(Debug, Default)]
pub struct PageEffect {
    /// New partners.
    pub added: Vec<Uuid>,
    /// Peers that are no longer partners.
    pub removed: Vec<Uuid>,
    /// The next page begins after this key; None: there is none.
    pub next: Option<Uuid>,
}

impl Local {
    /// A peer about which nothing is known yet.
    pub fn new(session: i64, outbox: Arc<Outbox>) -> Self {
        Self {
            session,
            proof: Proof::default(),
            only: None,
            outbox,
            node: None,
            wishes: Wishes::default(),
            restoring: false,
            partners: Partners::default(),
            covered: Coverage::Nothing,
            withheld: BTreeSet::new(),
        }
    }

    /// A new log begins: the state does not change until the pages come again.
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
        self.partners.get(other).map_or(Told::Nothing, |partnership| partnership.told)
    }

    /// The binding of a partner changed; None: it left.
    pub fn changed(&mut self, other: Uuid, binding: Option<&Binding>) {
        // Of a partner without a tunnel only the absence is news: it is withheld.
        let knows = |partnership: &Partnership| partnership.has_tunnel() || binding.is_none();
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
        let partnership = self.partners.get_mut(other).expect("it was just added");
        match direction {
            Direction::Outbound => partnership.outbound = true,
            Direction::Inbound => (partnership.inbound, partnership.doubtful) = (true, false),
        }
        if binding.is_some() {
            self.tell(other, binding);
        }
        new
    }

    /// A tunnel was closed. Whether `other` was a partner and no longer is.
    pub fn closed(&mut self, other: Uuid, direction: Direction, settled: bool) -> bool {
        if !self.covers(other) {
            return false;
        }
        let Some(partnership) = self.partners.get_mut(other) else { return false };
        match direction {
            Direction::Outbound => partnership.outbound = false,
            Direction::Inbound => (partnership.inbound, partnership.doubtful) = (false, false),
        }
        let settled = settled || !partnership.doubtful;
        !partnership.has_tunnel() && self.absent(other, settled)
    }

    /// A page of the view: it says all there is for the keys in (after, until].
    pub fn apply_page(
        &mut self,
        after: Option<Uuid>,
        until: Option<Uuid>,
        page: &[Partner],
        settled: bool,
    ) -> PageEffect {
        if after.is_some_and(|after| self.covered < Coverage::UpTo(after)) {
            return PageEffect::default(); // the pages before it did not come: another chain of pages is on its way
        }
        let listed: HashSet<Uuid> = page.iter().map(|partner| partner.id).collect();
        let range = (after.map_or(Bound::Unbounded, Bound::Excluded), until.map_or(Bound::Unbounded, Bound::Included));
        let mut removed = self.partners.keys_in(range);
        removed.retain(|other| {
            if listed.contains(other) {
                return false;
            }
            let partnership = self.partners.get_mut(*other).expect("it was just listed");
            partnership.doubtful |= partnership.inbound;
            (partnership.outbound, partnership.inbound) = (false, false);
            self.absent(*other, settled)
        });
        let mut added = Vec::new();
        for partner in page {
            if self.partners.add(partner.id) {
                added.push(partner.id);
            }
            let partnership = self.partners.get_mut(partner.id).expect("it was just added");
            partnership.doubtful = !settled && !partner.inbound && (partnership.inbound || partnership.doubtful);
            (partnership.outbound, partnership.inbound) = (partner.outbound, partner.inbound);
            match &partner.binding {
                None if !settled => self.withhold(partner.id),
                binding => self.tell(partner.id, binding.as_ref()),
            }
        }
        let reached = until.map_or(Coverage::All, Coverage::UpTo);
        let further = reached > self.covered;
        self.covered = self.covered.max(reached);
        PageEffect { added, removed, next: until.filter(|_| further) }
    }

    /// Whether the absence of some partner is withheld from the peer.
    pub fn withholds(&self) -> bool {
        !self.withheld.is_empty()
    }

    /// Absence is settled: tells what was withheld. Returns the peers that are no longer partners. Partners that are not
    /// covered are left to their page.
    pub fn settle(&mut self) -> Vec<Uuid> {
        let mut absent: Vec<Uuid> = self.withheld.iter().copied().filter(|other| self.covers(*other)).collect();
        absent.retain(|other| {
            self.tell(*other, None);
            self.partners.get(*other).is_some_and(|partnership| !partnership.has_tunnel())
        });
        for other in &absent {
            self.partners.remove(*other);
        }
        absent
    }

    /// What it takes to restore the session: the tunnels of the log, corrected by what the peer has asked for since.
    pub fn restore_state(&self) -> RestoreState {
        let logged = self.partners.iter().filter(|(_, partnership)| partnership.outbound).map(|(id, _)| id);
        let kept = logged.filter(|id| self.wishes.get(*id).is_none());
        let tunnels = kept.chain(self.wishes.iter().filter(|(_, wish)| *wish == Wish::Open).map(|(id, _)| id));
        RestoreState { proof: self.proof.clone(), only: self.only, node: self.node.clone(), tunnels: tunnels.collect() }
    }

    fn covers(&self, other: Uuid) -> bool {
        Coverage::UpTo(other) <= self.covered
    }

    fn tell(&mut self, other: Uuid, binding: Option<&Binding>) {
        let Some(partnership) = self.partners.get_mut(other) else { return };
        self.withheld.remove(&other);
        let told = partnership.told;
        if told.then(binding) != told {
            partnership.told = self.outbox.tell(other, told, binding);
        }
    }

    /// No tunnel to a partner is left. Whether it is removed from the partners.
    fn absent(&mut self, other: Uuid, settled: bool) -> bool {
        self.withhold(other);
        if !settled && self.withheld.contains(&other) {
            return false;
        }
        self.part(other);
        true
    }

    /// Notes that the absence of `other` is withheld, unless the peer was told nothing of it.
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
