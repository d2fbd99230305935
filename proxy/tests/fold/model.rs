//! The extension in memory: its two tables, and the events that it writes for two coordinators. Follows pg_ext, without
//! its batches, networks and roles.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tailnet_wire::{Binding, Digest, Ending, Event, Node, Partner, SessionId, TunnelEnd};
use uuid::Uuid;

/// The two coordinators.
pub const COORDINATORS: usize = 2;

/// The registration of a call is not current.
#[derive(Debug)]
pub struct Unregistered;

/// What a peer announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Ok(i64),
    Lost,
}

#[derive(Debug, Clone, Copy)]
pub struct Row {
    pub coordinator: Option<usize>,
    pub session: i64,
    pub status: Option<Status>,
}

#[derive(Debug, Default)]
struct Channel {
    registration: Option<Uuid>,
    listening: bool,
    restored: bool,
    settled: bool,
    log: VecDeque<Vec<Event>>,
    written: usize,
}

#[derive(Debug)]
pub struct Model {
    pub rows: BTreeMap<Uuid, Row>,
    pub tunnels: BTreeSet<(Uuid, Uuid)>,
    /// What has ever been true: (peer, partner, its node).
    pub visible: BTreeSet<(Uuid, Uuid, i64)>,
    /// How often the first peer had a reason to hear that the second left.
    pub parted: BTreeMap<(Uuid, Uuid), usize>,
    /// How often a peer was lost.
    pub lost: BTreeMap<Uuid, usize>,
    /// The tables were emptied at least once.
    pub crashed: bool,
    /// The newest session of each peer that was ever attached: outlives a crash.
    newest: BTreeMap<Uuid, i64>,
    /// Tunnels that the operator no longer allows.
    pub revoked: BTreeSet<(Uuid, Uuid)>,
    channels: [Channel; COORDINATORS],
    page_size: usize,
    sessions: i64,
    registrations: u128,
}

/// The events of one transaction.
type Fanout = [Vec<Event>; COORDINATORS];

impl Model {
    pub fn new(page_size: usize) -> Self {
        Self {
            rows: BTreeMap::new(),
            tunnels: BTreeSet::new(),
            visible: BTreeSet::new(),
            parted: BTreeMap::new(),
            lost: BTreeMap::new(),
            crashed: false,
            newest: BTreeMap::new(),
            revoked: BTreeSet::new(),
            channels: Default::default(),
            page_size,
            sessions: 0,
            registrations: 0,
        }
    }

    pub fn authenticate(&mut self, peer: Uuid) -> SessionId {
        self.sessions += 1;
        SessionId { peer, number: self.sessions }
    }

    pub fn register(&mut self, at: usize) -> Uuid {
        self.registrations += 1;
        let registration = Uuid::from_u128(self.registrations);
        let written = self.channels[at].written;
        self.channels[at] = Channel { registration: Some(registration), written, ..Channel::default() };
        registration
    }

    /// Until now everything that was written for this registration is lost.
    pub fn listen(&mut self, at: usize) {
        self.channels[at].listening = true;
    }

    pub fn admit(&self, at: usize, registration: Uuid) -> Result<(), Unregistered> {
        (self.channels[at].registration == Some(registration)).then_some(()).ok_or(Unregistered)
    }

    /// Another coordinator found this one silent.
    pub fn expire(&mut self, at: usize) {
        let mut fanout = Fanout::default();
        for id in self.rows.keys().copied().collect::<Vec<_>>() {
            if self.rows[&id].coordinator == Some(at) {
                self.end(&mut fanout, id);
            }
        }
        self.channels[at].registration = None;
        self.send(fanout);
    }

    /// The tables are emptied, and every connection is cut.
    pub fn crash(&mut self) {
        // Those who were lost are absent now. Of the others nobody may hear that they left.
        for (id, _) in self.rows.clone().into_iter().filter(|(_, row)| row.coordinator.is_none()) {
            self.part_from_all(id);
        }
        self.crashed = true;
        self.rows.clear();
        self.tunnels.clear();
        self.channels = Default::default();
    }

    pub fn attach(&mut self, at: usize, id: SessionId) {
        let mut fanout = Fanout::default();
        if self.open_session(&mut fanout, at, id) {
            self.page(&mut fanout, at, id, None);
        }
        self.send(fanout);
    }

    pub fn restore(&mut self, at: usize, id: SessionId, node: Option<i64>, tunnels: &[Uuid]) {
        let mut fanout = Fanout::default();
        if self.open_session(&mut fanout, at, id) {
            if let Some(node) = node {
                self.announce(&mut fanout, at, id, node);
            }
            for dst in tunnels {
                self.open_tunnel(&mut fanout, at, id, *dst);
            }
            self.page(&mut fanout, at, id, None);
        }
        self.send(fanout);
    }

    pub fn bind(&mut self, at: usize, id: SessionId, node: i64) {
        let mut fanout = Fanout::default();
        self.announce(&mut fanout, at, id, node);
        self.send(fanout);
    }

    pub fn lose(&mut self, at: usize, id: SessionId) {
        let mut fanout = Fanout::default();
        if self.holds(at, id) {
            self.end_earlier(&mut fanout, at, id);
            self.rows.get_mut(&id.peer).expect("held").session = id.number;
            self.end(&mut fanout, id.peer);
        }
        self.send(fanout);
    }

    pub fn disconnect(&mut self, at: usize, id: SessionId) {
        let mut fanout = Fanout::default();
        let was_lost = |row: &Row| row.coordinator.is_none() && row.session == id.number;
        if self.holds(at, id) || self.rows.get(&id.peer).is_some_and(was_lost) {
            self.end_earlier(&mut fanout, at, id);
            self.to_partners(&mut fanout, id.peer, &Event::Disconnected { id: id.peer });
            self.part_from_all(id.peer);
            self.tunnels.retain(|(src, _)| *src != id.peer);
            self.rows.remove(&id.peer);
        }
        self.send(fanout);
    }

    pub fn open(&mut self, at: usize, id: SessionId, dst: Uuid) {
        let mut fanout = Fanout::default();
        self.open_tunnel(&mut fanout, at, id, dst);
        self.send(fanout);
    }

    pub fn close(&mut self, at: usize, id: SessionId, dst: Uuid) {
        let row = self.rows.get(&id.peer);
        if row.is_some_and(|r| r.session == id.number && r.coordinator.is_none_or(|holder| holder == at)) {
            self.close_tunnel(id.peer, dst);
        }
    }

    pub fn revoke(&mut self, src: Uuid, dst: Uuid) {
        self.revoked.insert((src, dst));
        self.may_part(src, dst);
        self.close_tunnel(src, dst);
    }

    pub fn view(&mut self, at: usize, id: SessionId, after: Uuid) {
        let mut fanout = Fanout::default();
        if self.is_current(at, id) {
            self.page(&mut fanout, at, id, Some(after));
        }
        self.send(fanout);
    }

    /// A coordinator beats. Time has no length here: the grace after a crash is over when all are back and restored.
    pub fn beat(&mut self, at: usize, restored: bool) {
        self.channels[at].restored |= restored;
        if self.channels.iter().all(|channel| channel.restored) && !self.channels[at].settled {
            self.channels[at].settled = true;
            let mut fanout = Fanout::default();
            fanout[at].push(Event::Settled);
            self.send(fanout);
        }
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

    pub fn partners(&self, id: Uuid) -> BTreeSet<Uuid> {
        let ends = self.tunnels.iter().filter(|(src, dst)| *src == id || *dst == id);
        ends.map(|(src, dst)| if *src == id { *dst } else { *src }).collect()
    }

    fn end_earlier(&self, fanout: &mut Fanout, at: usize, id: SessionId) {
        let held = self.rows[&id.peer].session;
        if held < id.number {
            fanout[at].push(Event::Ended { id: id.peer, session: held, why: Ending::Superseded });
        }
    }

    fn holds(&self, at: usize, id: SessionId) -> bool {
        self.rows.get(&id.peer).is_some_and(|row| row.coordinator == Some(at) && row.session <= id.number)
    }

    fn is_current(&self, at: usize, id: SessionId) -> bool {
        self.holds(at, id) && self.rows[&id.peer].session == id.number
    }

    fn open_session(&mut self, fanout: &mut Fanout, at: usize, id: SessionId) -> bool {
        let old = self.rows.get(&id.peer).copied();
        let elsewhere = old.is_some_and(|row| row.coordinator.is_some_and(|holder| holder != at));
        let newest = self.newest.entry(id.peer).or_insert(id.number);
        if *newest > id.number || old.is_some_and(|row| row.session == id.number && elsewhere) {
            fanout[at].push(Event::Ended { id: id.peer, session: id.number, why: Ending::Superseded });
            return false;
        }
        *newest = id.number;
        if let Some(Row { coordinator: Some(holder), session, .. }) = old
            && session != id.number
        {
            fanout[holder].push(Event::Ended { id: id.peer, session, why: Ending::Superseded });
        }
        let status = old.and_then(|row| row.status);
        self.rows.insert(id.peer, Row { coordinator: Some(at), session: id.number, status });
        true
    }

    fn announce(&mut self, fanout: &mut Fanout, at: usize, id: SessionId, node: i64) {
        if !self.is_current(at, id) || self.rows[&id.peer].status == Some(Status::Ok(node)) {
            return;
        }
        self.rows.get_mut(&id.peer).expect("current").status = Some(Status::Ok(node));
        self.to_partners(fanout, id.peer, &Event::Changed { id: id.peer, binding: binding(Status::Ok(node)) });
    }

    /// The session of a peer ends; its tunnels stay.
    fn end(&mut self, fanout: &mut Fanout, id: Uuid) {
        let row = self.rows.get_mut(&id).expect("a peer with a session");
        row.coordinator = None;
        if matches!(row.status, Some(Status::Ok(_))) {
            row.status = Some(Status::Lost);
            *self.lost.entry(id).or_default() += 1;
            self.to_partners(fanout, id, &Event::Changed { id, binding: Binding::Lost });
        }
    }

    fn open_tunnel(&mut self, fanout: &mut Fanout, at: usize, id: SessionId, dst: Uuid) {
        let tunnel = (id.peer, dst);
        let allowed = self.is_current(at, id) && id.peer != dst && !self.revoked.contains(&tunnel);
        if !allowed || !self.tunnels.insert(tunnel) {
            return;
        }
        let (src, held) = (self.binding(id.peer), self.coordinator(dst));
        let dst_binding = self.binding(dst);
        fanout[at].push(Event::Opened {
            src: id.peer,
            src_binding: src.clone().filter(|_| held == Some(at)),
            dsts: vec![TunnelEnd { id: dst, binding: dst_binding }],
        });
        if let Some(other) = held.filter(|held| *held != at) {
            let dsts = vec![TunnelEnd { id: dst, binding: None }];
            fanout[other].push(Event::Opened { src: id.peer, src_binding: src, dsts });
        }
    }

    fn close_tunnel(&mut self, src: Uuid, dst: Uuid) {
        let mut fanout = Fanout::default();
        if self.tunnels.remove(&(src, dst)) {
            if !self.tunnels.contains(&(dst, src)) {
                self.part(src, dst);
            }
            let ends: BTreeSet<_> = [src, dst].iter().filter_map(|id| self.coordinator(*id)).collect();
            for at in ends {
                fanout[at].push(Event::Closed { src, dsts: vec![dst] });
            }
        }
        self.send(fanout);
    }

    fn page(&self, fanout: &mut Fanout, at: usize, id: SessionId, after: Option<Uuid>) {
        let mut keys: Vec<Uuid> =
            self.partners(id.peer).into_iter().filter(|key| after.is_none_or(|after| *key > after)).collect();
        let more = keys.len() > self.page_size;
        keys.truncate(self.page_size);
        let until = keys.last().copied().filter(|_| more);
        let partner = |key: &Uuid| Partner {
            id: *key,
            outbound: self.tunnels.contains(&(id.peer, *key)),
            inbound: self.tunnels.contains(&(*key, id.peer)),
            binding: self.binding(*key),
        };
        let partners = keys.iter().map(partner).collect();
        fanout[at].push(Event::View { id: id.peer, session: id.number, after, until, partners });
    }

    fn to_partners(&self, fanout: &mut Fanout, id: Uuid, event: &Event) {
        let interested: BTreeSet<_> =
            self.partners(id).into_iter().filter_map(|partner| self.coordinator(partner)).collect();
        for at in interested {
            fanout[at].push(event.clone());
        }
    }

    fn coordinator(&self, id: Uuid) -> Option<usize> {
        self.rows.get(&id).and_then(|row| row.coordinator)
    }

    fn binding(&self, id: Uuid) -> Option<Binding> {
        self.rows.get(&id).and_then(|row| row.status).map(binding)
    }

    /// After a crash the tables may not tell any more why two peers part: this is why.
    pub fn may_part(&mut self, a: Uuid, b: Uuid) {
        if self.crashed {
            self.part(a, b);
        }
    }

    fn part(&mut self, a: Uuid, b: Uuid) {
        for pair in [(a, b), (b, a)] {
            *self.parted.entry(pair).or_default() += 1;
        }
    }

    fn part_from_all(&mut self, id: Uuid) {
        for partner in self.partners(id) {
            self.part(id, partner);
        }
    }

    fn send(&mut self, fanout: Fanout) {
        for (src, dst) in &self.tunnels {
            for (peer, other) in [(src, dst), (dst, src)] {
                if let Some(Row { status: Some(Status::Ok(node)), .. }) = self.rows.get(other) {
                    self.visible.insert((*peer, *other, *node));
                }
            }
        }
        for (channel, events) in self.channels.iter_mut().zip(fanout) {
            if channel.registration.is_some() && channel.listening && !events.is_empty() {
                channel.written += 1;
                channel.log.push_back(events);
            }
        }
    }
}

/// The node whose digest is this number.
pub fn node(digest: i64) -> Node {
    Node::new(digest.to_string()).expect("a number is JSON")
}

fn binding(status: Status) -> Binding {
    match status {
        Status::Ok(digest) => Binding::Ok { digest: Digest(digest), node: node(digest) },
        Status::Lost => Binding::Lost,
    }
}
