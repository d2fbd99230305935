//! The tables of the extension, and the events that each of its functions writes. Every method is one transaction that
//! holds the network's lock, as in `pg_ext/src/order`.

use crate::{
    call::Call,
    coordinators::{COORDINATORS, Coordinators},
    event::{Binding, Event, Node, Partner, Session},
    guards::Guards,
    peers::{PEERS, Peer, Peers, Tunnels, peers},
};

/// The events of one transaction, by coordinator.
pub type Fanout = [Vec<Event>; COORDINATORS];

/// A row of `peers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Row {
    /// None: the session ended.
    pub coordinator: Option<usize>,
    /// The current one, or the last.
    pub session: u8,
    /// None: nothing was announced.
    pub binding: Option<Binding>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tables {
    /// By peer.
    pub rows: [Option<Row>; PEERS],
    pub tunnels: Tunnels,
    pub coordinators: Coordinators,
    /// `identities.session`, the only durable one.
    pub newest: [u8; PEERS],
    /// What of it is on the disk for certain.
    pub flushed: [u8; PEERS],
}

impl Tables {
    pub fn empty(newest: [u8; PEERS]) -> Self {
        let (tunnels, coordinators) = (Tunnels::default(), Coordinators::default());
        Self { rows: [None; PEERS], tunnels, coordinators, newest, flushed: newest }
    }

    /// `heartbeat_coordinator`.
    pub fn beat(&mut self, at: usize, restored: bool, guards: &Guards) -> Fanout {
        let mut fanout = Fanout::default();
        let beat = self.coordinators.beat(at, restored, guards);
        beat.expired.into_iter().for_each(|other| self.lose_all(other, &mut fanout));
        if beat.settles {
            fanout[at].push(Event::Settled);
        }
        fanout
    }

    /// Another coordinator found this one silent.
    pub fn expire(&mut self, at: usize) -> Fanout {
        let mut fanout = Fanout::default();
        self.coordinators.remove(at);
        self.lose_all(at, &mut fanout);
        fanout
    }

    /// An operator no longer allows a tunnel.
    pub fn revoke(&mut self, src: Peer, dst: Peer) -> Fanout {
        let mut fanout = Fanout::default();
        self.close(src, dst, &mut fanout);
        fanout
    }

    /// A call of a coordinator that is registered. Page sizes count partners.
    pub fn run(&mut self, at: usize, session: Session, call: Call, page: usize, guards: &Guards) -> Fanout {
        let mut fanout = Fanout::default();
        let peer = session.peer;
        // An ended session may still close its tunnels: nobody else does.
        let holds = |row: &Row| row.session == session.number && row.coordinator.is_none_or(|holder| holder == at);
        match call {
            Call::Attach => {
                if self.attach(at, session, &mut fanout) {
                    self.page(at, session, None, page, &mut fanout);
                }
            }
            Call::Restore { node, tunnels } => {
                if self.attach(at, session, &mut fanout) {
                    node.into_iter().for_each(|node| self.bind(at, session, node, guards, &mut fanout));
                    tunnels.iter().for_each(|dst| self.open(at, session, dst, guards, &mut fanout));
                    self.page(at, session, None, page, &mut fanout);
                }
            }
            Call::Bind(node) => self.bind(at, session, node, guards, &mut fanout),
            Call::Lose => {
                // Who ends a session ends earlier ones of the peer that it holds, for the later may never have been attached.
                if let Some(row) = self.row(peer).filter(|r| r.coordinator == Some(at) && r.session <= session.number) {
                    self.end_earlier(row, session, &mut fanout);
                    self.row_mut(peer).session = session.number;
                    self.lose(peer, &mut fanout);
                }
            }
            Call::Disconnect => self.disconnect(at, session, guards, &mut fanout),
            Call::Open(dst) => self.open(at, session, dst, guards, &mut fanout),
            Call::Close(dst) if self.row(peer).as_ref().is_some_and(holds) => self.close(peer, dst, &mut fanout),
            Call::Page(after) if self.is_current(at, session) => {
                self.page(at, session, Some(after), page, &mut fanout);
            }
            Call::Close(_) | Call::Page(_) => {}
        }
        fanout
    }

    pub fn row(&self, peer: Peer) -> Option<Row> {
        self.rows[usize::from(peer)]
    }

    pub fn binding(&self, peer: Peer) -> Option<Binding> {
        self.row(peer).and_then(|row| row.binding)
    }

    /// None: it announced none, or is lost.
    pub fn node(&self, peer: Peer) -> Option<Node> {
        self.binding(peer).and_then(Binding::node)
    }

    /// Of whom a viewer knows something else than it has to: exactly the nodes of its partners. That one is lost it need
    /// not know, for it may never have seen it.
    pub fn misjudged(&self, viewer: Peer, known: impl Fn(Peer) -> Option<Binding>) -> Option<Peer> {
        let partners: Peers = self.tunnels.partners(viewer).collect();
        peers().find(|other| match (self.binding(*other).filter(|_| partners.contains(*other)), known(*other)) {
            (Some(Binding::Lost), None) => false,
            (expected, known) => known != expected,
        })
    }

    /// Whether a session is the current one of its peer, and held by this coordinator.
    pub fn is_current(&self, at: usize, session: Session) -> bool {
        self.row(session.peer).is_some_and(|row| row.coordinator == Some(at) && row.session == session.number)
    }

    /// For a caller that has found the row.
    fn row_mut(&mut self, peer: Peer) -> &mut Row {
        self.rows[usize::from(peer)].as_mut().expect("the caller found the row")
    }

    fn coordinator(&self, peer: Peer) -> Option<usize> {
        self.row(peer).and_then(|row| row.coordinator)
    }

    /// `attach_peers`: whether the session is now the current one.
    fn attach(&mut self, at: usize, session: Session, fanout: &mut Fanout) -> bool {
        let peer = usize::from(session.peer);
        let old = self.rows[peer];
        let highest = old.map_or(0, |row| row.session).max(self.newest[peer]);
        let held_elsewhere = old.is_some_and(|row| row.coordinator.is_some_and(|holder| holder != at));
        if highest > session.number || (old.is_some_and(|row| row.session == session.number) && held_elsewhere) {
            fanout[at].push(Event::Ended(session));
            return false;
        }
        if let Some(row) = old {
            self.end_earlier(row, session, fanout);
        }
        let binding = old.and_then(|row| row.binding);
        self.rows[peer] = Some(Row { coordinator: Some(at), session: session.number, binding });
        self.newest[peer] = session.number;
        true
    }

    /// Tells the holder of an earlier session that it ended.
    fn end_earlier(&self, row: Row, session: Session, fanout: &mut Fanout) {
        if let Some(holder) = row.coordinator.filter(|_| row.session < session.number) {
            fanout[holder].push(Event::Ended(Session { number: row.session, ..session }));
        }
    }

    /// `bind_peers`.
    fn bind(&mut self, at: usize, session: Session, node: Node, guards: &Guards, fanout: &mut Fanout) {
        let fenced = guards.fencing && !self.is_current(at, session);
        let binding = Binding::Ok(node);
        if fenced || self.row(session.peer).is_none_or(|row| row.binding == Some(binding)) {
            return;
        }
        self.row_mut(session.peer).binding = Some(binding);
        self.tell_partners(session.peer, &Event::Changed { peer: session.peer, binding }, fanout);
    }

    /// The end of a session without a goodbye: its tunnels stay.
    fn lose(&mut self, peer: Peer, fanout: &mut Fanout) {
        let row = self.row_mut(peer);
        row.coordinator = None;
        if let Some(Binding::Ok(_)) = row.binding {
            row.binding = Some(Binding::Lost);
            self.tell_partners(peer, &Event::Changed { peer, binding: Binding::Lost }, fanout);
        }
    }

    /// The end of all sessions of a coordinator.
    fn lose_all(&mut self, at: usize, fanout: &mut Fanout) {
        for peer in peers() {
            if self.coordinator(peer) == Some(at) {
                self.lose(peer, fanout);
            }
        }
    }

    /// `disconnect_peers`.
    fn disconnect(&mut self, at: usize, session: Session, guards: &Guards, fanout: &mut Fanout) {
        let peer = usize::from(session.peer);
        if guards.final_goodbye {
            self.newest[peer] = self.newest[peer].max(session.number);
            self.flushed[peer] = self.flushed[peer].max(session.number);
        }
        let Some(row) = self.rows[peer] else { return };
        // A goodbye may come after the session was lost with its coordinator.
        let own = row.session == session.number && row.coordinator.is_none_or(|holder| holder == at);
        let earlier = row.session < session.number && (guards.final_goodbye || row.coordinator == Some(at));
        if !own && !earlier {
            return;
        }
        self.end_earlier(row, session, fanout);
        self.tell_partners(session.peer, &Event::Disconnected { peer: session.peer }, fanout);
        self.tunnels.remove_from(session.peer);
        self.rows[peer] = None;
    }

    /// `open_tunnels`: each end learns of the other by its own coordinator.
    fn open(&mut self, at: usize, session: Session, dst: Peer, guards: &Guards, fanout: &mut Fanout) {
        let src = session.peer;
        let fenced = guards.fencing && !self.is_current(at, session);
        if fenced || src == dst || !self.tunnels.insert(src, dst) {
            return;
        }
        let holder = self.coordinator(dst);
        for (to, events) in fanout.iter_mut().enumerate().filter(|(to, _)| *to == at || Some(*to) == holder) {
            let src_binding = self.binding(src).filter(|_| Some(to) == holder);
            let dst_binding = self.binding(dst).filter(|_| to == at);
            events.push(Event::Opened { src, dst, src_binding, dst_binding });
        }
    }

    /// `close_tunnels`.
    fn close(&mut self, src: Peer, dst: Peer, fanout: &mut Fanout) {
        if self.tunnels.remove(src, dst) {
            for (at, events) in fanout.iter_mut().enumerate() {
                if [src, dst].into_iter().any(|end| self.coordinator(end) == Some(at)) {
                    events.push(Event::Closed { src, dst });
                }
            }
        }
    }

    /// `view_peers`: the truth for the keys that the page covers.
    fn page(&self, at: usize, session: Session, after: Option<Peer>, page: usize, fanout: &mut Fanout) {
        let viewer = session.peer;
        let mut keys: Vec<Peer> =
            self.tunnels.partners(viewer).filter(|key| after.is_none_or(|after| *key > after)).collect();
        let more = keys.len() > page;
        keys.truncate(page);
        let until = keys.last().copied().filter(|_| more);
        let partner = |peer| Partner {
            peer,
            outbound: self.tunnels.contains(viewer, peer),
            inbound: self.tunnels.contains(peer, viewer),
            binding: self.binding(peer),
        };
        let partners = keys.into_iter().map(partner).collect();
        fanout[at].push(Event::View { session, after, until, partners });
    }

    /// An event goes once to each coordinator that has somebody who must hear it.
    fn tell_partners(&self, peer: Peer, event: &Event, fanout: &mut Fanout) {
        for (at, events) in fanout.iter_mut().enumerate() {
            if self.tunnels.partners(peer).any(|partner| self.coordinator(partner) == Some(at)) {
                events.push(event.clone());
            }
        }
    }
}
