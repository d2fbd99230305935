//! The extension: its tables, and the events that each of its functions writes. Every method is one transaction that
//! holds the network's lock, as in `pg_ext/src/turn.rs`.

use crate::{
    call::{Agents, Call},
    event::{Binding, CLIENT, END, Event, Node, PEERS, Peer, Session, peers},
    guards::Guards,
};

/// Two are enough: the one that acts, and another.
pub const COORDINATORS: usize = 2;

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

/// A row of `coordinators`. A call of an earlier registration is refused, so it needs no secret: see
/// [`World::register`](crate::world::World::register).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Registration {
    /// What is told before is not heard.
    pub listening: bool,
    /// It was heard within the time of an expiry.
    pub fresh: bool,
    /// Its own beats were on time for as long.
    pub on_time: bool,
    /// It has put back all sessions that it held when it registered.
    pub restored: bool,
    /// It was told that what is absent is absent.
    pub settled: bool,
}

/// The clock since the tables were emptied. It alone proves nothing: see [`Tables::restored`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grace {
    /// Nobody has registered since the tables were emptied.
    NotBegun,
    /// Somebody has: the others are still to come.
    Begun,
    /// The clock says that they had the time to.
    Over,
}

/// All tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tables {
    /// By peer.
    pub rows: [Option<Row>; PEERS],
    /// To whom the client has a tunnel.
    pub tunnels: Agents,
    /// None: expired, or not registered.
    pub coordinators: [Option<Registration>; COORDINATORS],
    /// What a deaf coordinator would go by.
    pub grace: Grace,
    /// The table `restoration`: everybody is back since the tables were emptied.
    pub restored: bool,
    /// `identities.session`, the only durable one.
    pub newest: [u8; PEERS],
    /// What of it is on the disk for certain.
    pub flushed: [u8; PEERS],
}

impl Tables {
    /// Nobody is here.
    pub fn empty(newest: [u8; PEERS]) -> Self {
        Self {
            rows: [None; PEERS],
            tunnels: Agents::default(),
            coordinators: [None; COORDINATORS],
            grace: Grace::NotBegun,
            restored: false,
            newest,
            flushed: newest,
        }
    }

    /// `register_coordinator`.
    pub fn register(&mut self, at: usize) {
        let (restored, settled) = (false, false);
        self.coordinators[at] = Some(Registration { listening: false, fresh: true, on_time: false, restored, settled });
        if self.grace == Grace::NotBegun {
            self.grace = Grace::Begun;
        }
    }

    /// `heartbeat_coordinator`. A beat after a silence is late, and starts the span of beats on time anew.
    pub fn beat(&mut self, at: usize, restored: bool, guards: &Guards) -> Fanout {
        let mut fanout = Fanout::default();
        let Some(own) = &mut self.coordinators[at] else { return fanout };
        own.on_time &= own.fresh;
        own.fresh = true;
        own.restored |= restored;
        let may_reap = own.on_time || !guards.deaf_do_not_reap;
        let on_time = own.on_time;
        for other in 0..COORDINATORS {
            if may_reap && self.coordinators[other].is_some_and(|other| !other.fresh) {
                self.expire(other, &mut fanout);
            }
        }
        let mut here = self.coordinators.iter().flatten();
        self.restored |= if guards.deaf_do_not_settle {
            on_time && here.all(|other| other.restored)
        } else {
            self.grace == Grace::Over && here.all(|other| other.restored || !other.fresh)
        };
        let settles = !guards.grace || self.restored;
        if let Some(own) = self.coordinators[at].as_mut().filter(|own| settles && !own.settled) {
            own.settled = true;
            fanout[at].push(Event::Settled);
        }
        fanout
    }

    /// The time of an expiry passes.
    pub fn pass_time(&mut self, beating: &[bool; COORDINATORS]) {
        for (registration, _) in self.coordinators.iter_mut().zip(beating).filter(|(_, beats)| **beats) {
            if let Some(registration) = registration {
                registration.on_time = true;
            }
        }
        self.end_grace();
    }

    /// The clock goes on whether anybody could come back or not.
    pub fn end_grace(&mut self) {
        if self.grace == Grace::Begun {
            self.grace = Grace::Over;
        }
    }

    /// A call of a coordinator that is registered. Page sizes count partners.
    pub fn run(&mut self, at: usize, session: Session, call: Call, page: usize, guards: &Guards) -> Fanout {
        let mut fanout = Fanout::default();
        match call {
            Call::Attach => {
                if self.attach(at, session, &mut fanout) {
                    self.page(at, session, None, page, &mut fanout);
                }
            }
            Call::Restore { version, tunnels } => {
                if self.attach(at, session, &mut fanout) {
                    self.bind(at, session, version, guards, &mut fanout);
                    tunnels.iter().for_each(|agent| self.open(at, session, agent, guards, &mut fanout));
                    self.page(at, session, None, page, &mut fanout);
                }
            }
            Call::Bind { version } => self.bind(at, session, version, guards, &mut fanout),
            Call::Lose => {
                if self.may_end(at, session) {
                    self.row_mut(session.peer).session = session.number;
                    self.lose(session.peer, &mut fanout);
                }
            }
            Call::Disconnect => self.disconnect(at, session, guards, &mut fanout),
            Call::Open(agent) => self.open(at, session, agent, guards, &mut fanout),
            Call::Page(after) => {
                if self.is_current(at, session) {
                    self.page(at, session, Some(after), page, &mut fanout);
                }
            }
        }
        fanout
    }

    /// What is known of a peer.
    pub fn row(&self, peer: Peer) -> Option<Row> {
        self.rows[usize::from(peer)]
    }

    /// Whether a session is the current one of its peer, and held by this coordinator.
    pub fn is_current(&self, at: usize, session: Session) -> bool {
        self.row(session.peer).is_some_and(|row| row.coordinator == Some(at) && row.session == session.number)
    }

    /// Those that share a tunnel with a peer.
    pub fn partners(&self, peer: Peer) -> impl Iterator<Item = Peer> + '_ {
        peers().filter(move |other| match (peer, *other) {
            (CLIENT, agent) | (agent, CLIENT) => self.tunnels.contains(agent),
            _ => false,
        })
    }

    /// For a caller that has found the row.
    fn row_mut(&mut self, peer: Peer) -> &mut Row {
        self.rows[usize::from(peer)].as_mut().expect("the caller found the row")
    }

    /// Who holds a peer's session.
    fn coordinator(&self, peer: Peer) -> Option<usize> {
        self.row(peer).and_then(|row| row.coordinator)
    }

    /// What partners are to know of a peer.
    fn binding(&self, peer: Peer) -> Option<Binding> {
        self.row(peer).and_then(|row| row.binding)
    }

    /// `session::attach`: whether the session is now the current one.
    fn attach(&mut self, at: usize, session: Session, fanout: &mut Fanout) -> bool {
        let peer = usize::from(session.peer);
        let old = self.rows[peer];
        let highest = old.map_or(0, |row| row.session).max(self.newest[peer]);
        let held_elsewhere = old.is_some_and(|row| row.coordinator.is_some_and(|holder| holder != at));
        if highest > session.number || (old.is_some_and(|row| row.session == session.number) && held_elsewhere) {
            fanout[at].push(Event::Ended(session));
            return false;
        }
        if let Some(Row { coordinator: Some(holder), session: number, .. }) = old
            && number != session.number
        {
            fanout[holder].push(Event::Ended(Session { number, ..session }));
        }
        let binding = old.and_then(|row| row.binding);
        self.rows[peer] = Some(Row { coordinator: Some(at), session: session.number, binding });
        self.newest[peer] = session.number;
        true
    }

    /// `bind_peers`; a restore without a node binds nothing.
    fn bind(&mut self, at: usize, session: Session, version: u8, guards: &Guards, fanout: &mut Fanout) {
        let fenced = guards.fencing && !self.is_current(at, session);
        let binding = Binding::Ok(Node { session: session.number, version });
        if version == 0 || fenced || self.row(session.peer).is_none_or(|row| row.binding == Some(binding)) {
            return;
        }
        self.row_mut(session.peer).binding = Some(binding);
        self.tell_partners(session.peer, &Event::Changed { peer: session.peer, binding }, fanout);
    }

    /// Who ends a session ends earlier ones of the peer that it holds, for the later may never have been attached.
    fn may_end(&self, at: usize, session: Session) -> bool {
        self.row(session.peer).is_some_and(|row| row.coordinator == Some(at) && row.session <= session.number)
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

    /// `reaper::end`.
    fn expire(&mut self, at: usize, fanout: &mut Fanout) {
        for peer in peers().filter(|peer| self.coordinator(*peer) == Some(at)).collect::<Vec<_>>() {
            self.lose(peer, fanout);
        }
        self.coordinators[at] = None;
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
        if let Some(holder) = row.coordinator.filter(|_| earlier) {
            fanout[holder].push(Event::Ended(Session { number: row.session, ..session }));
        }
        self.tell_partners(session.peer, &Event::Disconnected { peer: session.peer }, fanout);
        if session.peer == CLIENT {
            self.tunnels = Agents::default();
        }
        self.rows[peer] = None;
    }

    /// `open_tunnels`: each end learns of the other by its own coordinator.
    fn open(&mut self, at: usize, session: Session, agent: Peer, guards: &Guards, fanout: &mut Fanout) {
        let fenced = guards.fencing && !self.is_current(at, session);
        if fenced || !self.tunnels.insert(agent) {
            return;
        }
        let (of_client, holder) = (self.binding(CLIENT), self.coordinator(agent));
        for (to, events) in fanout.iter_mut().enumerate().filter(|(to, _)| *to == at || Some(*to) == holder) {
            let of_client = of_client.filter(|_| Some(to) == holder);
            let of_agent = self.rows[usize::from(agent)].and_then(|row| row.binding).filter(|_| to == at);
            events.push(Event::Opened { agent, of_client, of_agent });
        }
    }

    /// `view::send_views`: the truth for the keys that it covers.
    fn page(&self, at: usize, session: Session, after: Option<Peer>, page: usize, fanout: &mut Fanout) {
        let mut keys: Vec<Peer> = self.partners(session.peer).filter(|key| after.is_none_or(|a| *key > a)).collect();
        let more = keys.len() > page;
        keys.truncate(page);
        let until = keys.last().copied().filter(|_| more).unwrap_or(END);
        let partners = keys.into_iter().map(|key| (key, self.binding(key))).collect();
        fanout[at].push(Event::View { session, after, until, partners });
    }

    /// `Fanout::tell_partners`: an event goes once to each coordinator that has somebody who must hear it.
    fn tell_partners(&self, peer: Peer, event: &Event, fanout: &mut Fanout) {
        for (at, events) in fanout.iter_mut().enumerate() {
            if self.partners(peer).any(|partner| self.coordinator(partner) == Some(at)) {
                events.push(event.clone());
            }
        }
    }
}
