//! The fold over the log: which peers this proxy holds, and what each of them is told.
//!
//! It is pure: no IO, no clock, nothing async. Its results are entries in outboxes and pages to ask for. The interest index
//! says which local peers share a tunnel with a peer, so the fold carries an event to exactly those.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use tailnet_wire::{Binding, Event, Node, Partner, SessionId, TunnelEnd};
use uuid::Uuid;

use crate::{
    batch::request::Proof,
    message::{Ending, Refused, Wish},
    state::{
        local::{Direction, Local, RestoreState},
        outbox::Outbox,
    },
};

/// The state of one proxy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fold {
    /// Boxed, because up to half of a hash table is empty.
    pub(super) locals: HashMap<Uuid, Box<Local>>,
    /// Pairs of a peer and a local peer that shares a tunnel with it.
    pub(super) interest: BTreeSet<(Uuid, Uuid)>,
    /// How often the log was known to be folded up to the present.
    pub(super) marks: u64,
    /// Local peers with wishes that are committed and that the log may not tell yet.
    pub(super) awaiting_marks: HashSet<Uuid>,
    /// Absence is settled: a partner that is missing from the tables is absent.
    pub(super) settled: bool,
    /// Local peers from whom the absence of some partner is withheld.
    pub(super) withholding: HashSet<Uuid>,
}

/// The next page of a view, to be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextPage {
    /// Whose view.
    pub id: SessionId,
    /// It begins after this key.
    pub after: Uuid,
}

impl Fold {
    /// A session of this proxy begins. An older one of the same peer ends at once, and its partners are told nothing. None:
    /// a newer one is here already.
    pub fn open(&mut self, id: SessionId) -> Option<Arc<Outbox>> {
        if self.locals.get(&id.peer).is_some_and(|local| local.session >= id.number) {
            return None;
        }
        if let Some(older) = self.remove(id.peer) {
            older.outbox.end(Ending::Superseded);
        }
        let outbox = Arc::new(Outbox::default());
        self.locals.insert(id.peer, Box::new(Local::new(id.number, Arc::clone(&outbox))));
        Some(outbox)
    }

    /// Keeps what the session was admitted with: the proof of its number, and the only peer that it may have a tunnel to (None:
    /// policy alone decides).
    pub fn admitted(&mut self, id: SessionId, proof: Proof, only: Option<Uuid>) {
        if let Some(local) = self.get_mut(id) {
            (local.proof, local.only) = (proof, only);
        }
    }

    /// What a session was admitted with, see [`Self::admitted`]; None: it ended.
    pub fn admission(&self, id: SessionId) -> Option<(Proof, Option<Uuid>)> {
        self.get(id).map(|local| (local.proof.clone(), local.only))
    }

    /// A session of this proxy ended. Whether it was still one of this fold.
    pub fn close(&mut self, id: SessionId) -> bool {
        self.get(id).is_some() && self.remove(id.peer).is_some()
    }

    /// Whether the session is one of this fold.
    pub fn holds(&self, id: SessionId) -> bool {
        self.get(id).is_some()
    }

    /// The number of sessions.
    pub fn len(&self) -> usize {
        self.locals.len()
    }

    /// Whether there is no session.
    pub fn is_empty(&self) -> bool {
        self.locals.is_empty()
    }

    /// The session announced a node. Whether it is one of this fold.
    pub fn announce(&mut self, id: SessionId, node: Node) -> bool {
        self.get_mut(id).map(|local| local.node = Some(node)).is_some()
    }

    /// The session asked for a tunnel. Whether it is one of this fold.
    pub fn wish(&mut self, id: SessionId, dst: Uuid, wish: Wish) -> bool {
        self.get_mut(id).map(|local| local.wishes.make(dst, wish)).is_some()
    }

    /// What the session last asked of a tunnel, as long as the log may not tell it.
    pub fn wish_for(&self, id: SessionId, dst: Uuid) -> Option<Wish> {
        self.get(id).and_then(|local| local.wishes.get(dst))
    }

    /// A wish was committed.
    pub fn commit(&mut self, id: SessionId, dst: Uuid, wish: Wish) {
        let marks = self.marks;
        if let Some(local) = self.get_mut(id) {
            local.wishes.commit(dst, wish, marks);
            self.awaiting_marks.insert(id.peer);
        }
    }

    /// The LISTEN connection has answered a question, and all that was committed before the question has been folded.
    pub fn mark(&mut self) {
        self.marks += 1;
        self.awaiting_marks.retain(|peer| {
            self.locals
                .get_mut(peer)
                .is_some_and(|local| !local.is_covered() || local.restoring || local.wishes.forget(self.marks))
        });
    }

    /// A new registration, and with it a new log. Returns the sessions to restore.
    pub fn begin(&mut self) -> Vec<SessionId> {
        self.settled = false;
        let begun = self.locals.iter_mut().map(|(peer, local)| {
            local.uncover();
            SessionId { peer: *peer, number: local.session }
        });
        begun.collect()
    }

    /// What it takes to restore a session, which a worker is about to do; None: it ended.
    pub fn restore_state(&mut self, id: SessionId) -> Option<RestoreState> {
        let local = self.get_mut(id)?;
        local.restoring = true;
        Some(local.restore_state())
    }

    /// A session was restored with these tunnels. Returns what the peer has asked for since the worker took the restore.
    /// That may have been committed before the restore, without effect, so it must be asked for again.
    pub fn restored(&mut self, id: SessionId, tunnels: &[Uuid]) -> Vec<(Uuid, Wish)> {
        let Some(local) = self.get_mut(id) else { return Vec::new() };
        local.restoring = false;
        let tunnels: HashSet<&Uuid> = tunnels.iter().collect();
        let missed = |(dst, wish): &(Uuid, Wish)| tunnels.contains(dst) == (*wish == Wish::Close);
        let missed: Vec<_> = local.wishes.iter().filter(missed).collect();
        missed.iter().for_each(|(dst, wish)| local.wishes.make(*dst, *wish));
        missed
    }

    /// The last node of a session; None: it ended, or announced none.
    pub fn node(&self, id: SessionId) -> Option<Node> {
        self.get(id).and_then(|local| local.node.clone())
    }

    /// The outbox of a session.
    pub fn outbox(&self, id: SessionId) -> Option<&Arc<Outbox>> {
        self.get(id).map(|local| &local.outbox)
    }

    /// The outboxes of all sessions.
    pub fn outboxes(&self) -> impl Iterator<Item = &Arc<Outbox>> {
        self.locals.values().map(|local| &local.outbox)
    }

    /// Folds the next event of the log.
    pub fn apply(&mut self, event: Event) -> Option<NextPage> {
        match event {
            Event::Changed { id, binding } => self.tell_interested(id, Some(&binding)),
            Event::Disconnected { id } => self.disconnected(id),
            Event::Opened { src, src_binding, dsts } => self.opened(src, src_binding.as_ref(), &dsts),
            Event::Closed { src, dsts } => self.closed(src, &dsts),
            Event::Ready { src, dst } => {
                // The extension checked the tunnel; the page with src may still be on its way.
                if let Some(local) = self.locals.get(&dst) {
                    local.outbox.ready(src, local.told(src));
                }
            }
            Event::Ended { id, session, why } => self.ended(SessionId { peer: id, number: session }, why),
            Event::Refused { id, session, why } => {
                let fatal = why.is_fatal();
                self.refuse(SessionId { peer: id, number: session }, Refused::Rule(why), fatal);
            }
            Event::View { id, session, after, until, partners } => {
                return self.view(SessionId { peer: id, number: session }, after, until, &partners);
            }
            // No peer's view depends on it: see `derp_maps`.
            Event::DerpMap { .. } => {}
            Event::Settled => self.settle(),
        }
        None
    }

    /// Tells a session that a request of its peer was not done. After a fatal refusal the session ends.
    pub fn refuse(&mut self, id: SessionId, refused: Refused, fatal: bool) {
        if let Some(outbox) = self.outbox(id) {
            outbox.refuse(refused);
            if fatal {
                outbox.end(Ending::Refused);
            }
        }
    }

    fn tell_interested(&mut self, id: Uuid, binding: Option<&Binding>) {
        for (_, peer) in self.interest.range((id, Uuid::nil())..=(id, Uuid::max())) {
            self.locals.get_mut(peer).expect("each peer of the interest index is local").changed(id, binding);
        }
    }

    fn disconnected(&mut self, id: Uuid) {
        self.tell_interested(id, None);
        for peer in self.interested(id) {
            self.tunnel_closed(peer, id, Direction::Inbound);
        }
    }

    fn opened(&mut self, src: Uuid, src_binding: Option<&Binding>, dsts: &[TunnelEnd]) {
        for dst in dsts {
            self.tunnel_opened(src, dst.id, Direction::Outbound, dst.binding.as_ref());
            self.tunnel_opened(dst.id, src, Direction::Inbound, src_binding);
        }
    }

    fn closed(&mut self, src: Uuid, dsts: &[Uuid]) {
        for dst in dsts {
            self.tunnel_closed(src, *dst, Direction::Outbound);
            self.tunnel_closed(*dst, src, Direction::Inbound);
        }
    }

    fn ended(&mut self, id: SessionId, why: tailnet_wire::Ending) {
        if !self.holds(id) {
            return;
        }
        if let Some(local) = self.remove(id.peer) {
            local.outbox.end(match why {
                tailnet_wire::Ending::Superseded => Ending::Superseded,
                tailnet_wire::Ending::Revoked => Ending::Revoked,
                tailnet_wire::Ending::Expired => Ending::Expired,
                tailnet_wire::Ending::Full => Ending::Full,
                tailnet_wire::Ending::Disconnected => Ending::Disconnected,
                tailnet_wire::Ending::Unproved => Ending::Unproved,
                tailnet_wire::Ending::Unknown => Ending::Unknown,
            });
        }
    }

    fn view(&mut self, id: SessionId, after: Option<Uuid>, until: Option<Uuid>, page: &[Partner]) -> Option<NextPage> {
        let settled = self.settled;
        let effect = self.get_mut(id)?.apply_page(after, until, page, settled);
        self.interest.extend(effect.added.into_iter().map(|other| (other, id.peer)));
        for other in effect.removed {
            self.interest.remove(&(other, id.peer));
        }
        self.note_withheld(id.peer);
        effect.next.map(|after| NextPage { id, after })
    }

    fn tunnel_opened(&mut self, peer: Uuid, other: Uuid, direction: Direction, binding: Option<&Binding>) {
        if self.locals.get_mut(&peer).is_some_and(|local| local.opened(other, direction, binding)) {
            self.interest.insert((other, peer));
        }
    }

    fn tunnel_closed(&mut self, peer: Uuid, other: Uuid, direction: Direction) {
        let settled = self.settled;
        if self.locals.get_mut(&peer).is_some_and(|local| local.closed(other, direction, settled)) {
            self.interest.remove(&(other, peer));
        } else {
            self.note_withheld(peer);
        }
    }

    fn note_withheld(&mut self, peer: Uuid) {
        if !self.settled && self.locals.get(&peer).is_some_and(|local| local.withholds()) {
            self.withholding.insert(peer);
        }
    }

    fn settle(&mut self) {
        self.settled = true;
        for peer in std::mem::take(&mut self.withholding) {
            let Some(local) = self.locals.get_mut(&peer) else { continue };
            for other in local.settle() {
                self.interest.remove(&(other, peer));
            }
        }
    }

    fn interested(&self, id: Uuid) -> Vec<Uuid> {
        self.interest.range((id, Uuid::nil())..=(id, Uuid::max())).map(|(_, peer)| *peer).collect()
    }

    fn get(&self, id: SessionId) -> Option<&Local> {
        self.locals.get(&id.peer).map(Box::as_ref).filter(|local| local.session == id.number)
    }

    fn get_mut(&mut self, id: SessionId) -> Option<&mut Local> {
        self.locals.get_mut(&id.peer).map(Box::as_mut).filter(|local| local.session == id.number)
    }

    fn remove(&mut self, peer: Uuid) -> Option<Box<Local>> {
        let local = self.locals.remove(&peer)?;
        for other in local.partners() {
            self.interest.remove(&(other, peer));
        }
        Some(local)
    }
}
