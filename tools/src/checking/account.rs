//! What one light peer did and was told: its side of what the oracle compares.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::Value;
use uuid::Uuid;

use super::received::{Received, without_time};
use crate::{identity::TestIdentity, protobuf, websocket::Protocol};

/// The books of a light peer.
#[derive(Debug)]
pub struct Account {
    /// Whose they are.
    pub identity: TestIdentity,
    /// It wants a websocket. If it has none, it has not come back yet.
    pub wants_socket: bool,
    /// The proxy that holds its websocket.
    pub proxy: Option<String>,
    /// What it speaks on this websocket.
    pub protocol: Protocol,
    /// The node that it announced on this websocket, without its time.
    pub node: Option<Value>,
    /// The tunnels of which it knows whether they must be there.
    tunnels: HashMap<Uuid, Asked>,
    /// What it was told.
    pub received: Received,
    /// What it did lately.
    pub doings: Doings,
    /// Websockets that it superseded itself and that are not closed yet.
    pub retired: usize,
    /// Counts its websockets.
    pub(super) serial: u64,
    /// Another websocket is being opened: the proxy may close this one at any time.
    pub(super) taking_over: bool,
    /// Requests that it sent.
    pub requests: u64,
}

/// What a peer last asked of a tunnel.
#[derive(Debug, Clone, Copy)]
struct Asked {
    open: bool,
    /// The tables have told that it was done.
    done: bool,
}

/// What happened since [`Account::settle`].
#[derive(Debug, Default)]
pub struct Doings {
    /// It was without a websocket for a time.
    pub was_away: bool,
    /// It superseded a websocket of its own.
    pub took_over: bool,
    /// It had a websocket on which it had not announced a node: its binding was one of an earlier websocket, which no
    /// proxy brings back after a crash of the tables.
    pub was_mute: bool,
    /// It gave up a connection attempt that a proxy may still be working on.
    pub abandoned: bool,
    /// It stopped reading for a time.
    pub stopped_reading: bool,
    /// The proxies that held a websocket of it.
    pub proxies: BTreeSet<String>,
    /// The tunnels that it closed, or may have closed.
    pub closed: HashSet<Uuid>,
    /// How its websockets ended that it did not end itself.
    pub closings: Vec<Closing>,
    /// Errors that it was told.
    pub errors: Vec<String>,
}

/// A proxy closed a websocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closing {
    /// Which proxy.
    pub proxy: String,
    /// The code; None: there was no close frame.
    pub code: Option<u16>,
    /// The reason, or what broke.
    pub reason: String,
    /// A newer websocket of the same peer was there, or on its way.
    pub superseded: bool,
}

/// How a session ended, as far as the peer knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The proxy has confirmed the goodbye.
    Goodbye,
    /// It said goodbye, and does not know whether it was heard.
    UnheardGoodbye,
    /// Without a goodbye.
    Lost,
}

impl Account {
    /// Of a peer that never was connected.
    pub fn new(identity: TestIdentity) -> Self {
        Self {
            identity,
            wants_socket: false,
            proxy: None,
            protocol: Protocol::V1,
            node: None,
            tunnels: HashMap::new(),
            received: Received::default(),
            doings: Doings { was_away: true, ..Doings::default() },
            retired: 0,
            serial: 0,
            taking_over: false,
            requests: 0,
        }
    }

    /// A websocket is open.
    pub(super) fn connected(&mut self, proxy: &str, protocol: Protocol) {
        self.forget_requests();
        self.protocol = protocol;
        self.proxy = Some(proxy.to_owned());
        self.node = None;
        self.serial += 1;
        self.doings.was_mute = true;
        self.doings.proxies.insert(proxy.to_owned());
        self.received.begin();
        self.received.did(&format!("connected to {proxy}"));
    }

    /// Whether two nodes are the same to this peer. One that speaks v2 neither says nor hears what protobuf cannot say.
    pub(super) fn agrees(&self, one: &Value, other: &Value) -> bool {
        one == other || (self.protocol == Protocol::V2 && protobuf::spoken(one) == protobuf::spoken(other))
    }

    /// It announced a node.
    pub(super) fn announced(&mut self, node: &Value) {
        self.node = Some(without_time(node));
        self.received.did(&format!("announced version {}", node["id"]));
    }

    /// It asked to open or to close a tunnel.
    pub(super) fn asked(&mut self, dst: Uuid, open: bool) {
        self.tunnels.insert(dst, Asked { open, done: false });
        if !open {
            self.doings.closed.insert(dst);
        }
        self.received.did(&format!("asked to {} the tunnel to {dst}", if open { "open" } else { "close" }));
    }

    /// Its websocket is gone.
    pub(super) fn ended(&mut self, ended: Ended) {
        self.received.did(&format!("session ended: {ended:?}"));
        self.proxy = None;
        self.node = None;
        self.doings.was_away = true;
        if ended != Ended::Lost {
            // Its partners may have opened tunnels to it, but its own are gone.
            self.doings.closed.extend(self.tunnels.keys());
        }
        match ended {
            Ended::Goodbye => self.tunnels.values_mut().for_each(|asked| *asked = Asked { open: false, done: true }),
            Ended::UnheardGoodbye => self.tunnels.clear(),
            Ended::Lost => self.forget_requests(),
        }
    }

    /// What an earlier websocket asked for last may or may not have been done.
    fn forget_requests(&mut self) {
        self.tunnels.retain(|_, asked| asked.done);
    }

    /// The tables were emptied meanwhile. Only who was connected all the time has its tunnels restored by its proxy.
    pub fn tables_were_emptied(&mut self) {
        if self.doings.was_away || self.doings.took_over {
            self.tunnels.retain(|_, asked| !asked.done);
        }
    }

    /// The tables agree with all of this: a new time begins.
    pub fn settle(&mut self) {
        self.tunnels.values_mut().for_each(|asked| asked.done = true);
        self.received.partings.clear();
        self.doings = Doings {
            was_away: self.proxy.is_none(),
            was_mute: self.node.is_none(),
            proxies: self.proxy.iter().cloned().collect(),
            ..Doings::default()
        };
    }

    /// The tunnels of which it knows, and whether each must be there.
    pub fn tunnels(&self) -> impl Iterator<Item = (Uuid, bool)> {
        self.tunnels.iter().map(|(dst, asked)| (*dst, asked.open))
    }

    /// The tunnels that it knows to be there.
    pub fn open_tunnels(&self) -> impl Iterator<Item = Uuid> {
        self.tunnels().filter(|(_, open)| *open).map(|(dst, _)| dst)
    }
}
