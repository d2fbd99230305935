//! The peers of a load process.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use mio::{Poll, Token};
use tailnet_tools::websocket::Protocol;
use uuid::Uuid;

use super::{
    calls::{Calls, Nodes},
    socket::{Socket, Stage},
    views::Views,
    wire,
};
use crate::{
    common::node::SMALL,
    peers::{
        clock::Moment,
        control::{End, Hold},
    },
};

/// Bytes of one read.
const BUFFER: usize = 64 << 10;

/// As the proxies' `Retry-After` says.
const PAUSE: Duration = Duration::from_secs(2);

/// Everybody.
#[derive(Debug)]
pub struct Peers {
    pub(super) poll: Poll,
    pub(super) proxies: Vec<[SocketAddr; 2]>,
    in_flight: usize,
    pub(super) tokens: Vec<String>,
    pub(super) protocol: Protocol,
    pub(super) sockets: Vec<Socket>,
    /// Of peers that speak v2 and are connected.
    pub(super) calls: Vec<Option<Box<Calls>>>,
    pub(super) nodes: Nodes,
    pub(super) views: Views,
    pub(super) buffer: Vec<u8>,
    /// Bytes that are being made.
    pub(super) frame: Vec<u8>,
    /// Peers that are to be connected, by proxy.
    pub(super) queues: [VecDeque<usize>; 2],
    /// Websockets that are being opened, by proxy.
    pub(super) opening: [usize; 2],
    /// Websockets that are open.
    pub(super) connected: usize,
    /// Peers that were put off, and until when.
    pub(super) put_off: VecDeque<(Moment, usize)>,
}

/// What a peer is, and so on which proxy.
pub(super) fn end(place: usize) -> usize {
    place % 2
}

impl Peers {
    /// Nobody is connected yet.
    pub fn new(poll: Poll, hold: Hold) -> Self {
        let views = Views::new(hold.pairs.iter().flatten().map(|peer| peer.id));
        let tokens: Vec<_> = hold.pairs.into_iter().flatten().map(|peer| peer.token).collect();
        Self {
            poll,
            proxies: hold.proxies,
            in_flight: hold.in_flight,
            protocol: hold.protocol,
            sockets: tokens.iter().map(|_| Socket::new()).collect(),
            calls: tokens.iter().map(|_| None).collect(),
            nodes: Nodes::new(),
            tokens,
            views,
            buffer: vec![0; BUFFER],
            frame: Vec::new(),
            queues: Default::default(),
            opening: [0; 2],
            connected: 0,
            put_off: VecDeque::new(),
        }
    }

    /// The next node of a peer.
    pub(super) fn announce(&mut self, place: usize) -> Result<()> {
        self.views.announce(place, false);
        if self.sockets[place].stage == Stage::Open { self.say(place, None) } else { Ok(()) }
    }

    /// Sends the node that a peer announced last, and a tunnel to open if there is one.
    fn say(&mut self, place: usize, tunnel: Option<Uuid>) -> Result<()> {
        let (id, version) = self.views.said_by(place);
        if let Some(calls) = &mut self.calls[place] {
            calls.announce(self.nodes.node(id, version), tunnel);
            return self.send_calls(place);
        }
        let mut text = r#"{"update_self":{"node":"#.to_owned();
        SMALL.write(&mut text, id, version);
        text += &tunnel.map_or_else(|| "}}".to_owned(), |id| format!(r#"}},"add_tunnel":{{"id":"{id}"}}}}"#));
        self.send(place, &text)
    }

    /// Sends what the calls of a peer have to say.
    pub(super) fn send_calls(&mut self, place: usize) -> Result<()> {
        let Some(calls) = &mut self.calls[place] else { return Ok(()) };
        let bytes = calls.take_output();
        if bytes.is_empty() {
            return Ok(());
        }
        self.frame.clear();
        wire::write_binary(&mut self.frame, &bytes);
        match self.sockets[place].send(&self.frame) {
            Ok(()) => Ok(()),
            Err(_) => self.ended(place),
        }
    }

    /// A peer that speaks v2 says that it lives.
    pub(super) fn ping(&mut self, place: usize) -> Result<()> {
        if let Some(calls) = &mut self.calls[place] {
            calls.ping();
        }
        self.send_calls(place)
    }

    fn send(&mut self, place: usize, text: &str) -> Result<()> {
        self.frame.clear();
        wire::write_text(&mut self.frame, text);
        match self.sockets[place].send(&self.frame) {
            Ok(()) => Ok(()),
            Err(_) => self.ended(place),
        }
    }

    /// Begins to open as many websockets as may be opened at once.
    pub(super) fn connect(&mut self) -> Result<()> {
        let now = Moment::now();
        while let Some((_, place)) = self.put_off.pop_front_if(|(at, _)| *at <= now) {
            self.queues[end(place)].push_back(place);
        }
        for proxy in 0..2 {
            while self.opening[proxy] < self.in_flight
                && let Some(place) = self.queues[proxy].pop_front()
            {
                let (address, registry) = (self.address(place), self.poll.registry());
                self.sockets[place].connect(address, registry, Token(place)).context("cannot open a connection")?;
                self.opening[proxy] += 1;
            }
        }
        Ok(())
    }

    /// Where a peer connects to.
    pub(super) fn address(&self, place: usize) -> SocketAddr {
        self.proxies[place / 2 % self.proxies.len()][end(place)]
    }

    /// A websocket is open: its peer says who it is, and a client opens its tunnel.
    pub(super) fn opened(&mut self, place: usize) -> Result<()> {
        self.opening[end(place)] -= 1;
        self.connected += 1;
        self.sockets[place].stage = Stage::Open;
        self.calls[place] = (self.protocol == Protocol::V2).then(|| Box::new(Calls::begin()));
        self.views.announce(place, true);
        let tunnel = (end(place) == End::Client as usize).then(|| self.views.partner_id(place));
        self.say(place, tunnel)
    }

    /// A connection ended, or could not be opened: its peer comes back, as a real one does.
    pub(super) fn ended(&mut self, place: usize) -> Result<()> {
        match self.sockets[place].stage {
            Stage::Closed => return Ok(()),
            Stage::Connecting | Stage::Upgrading => {
                self.opening[end(place)] -= 1;
                self.views.totals.put_off += 1;
            }
            Stage::Open => {
                self.connected -= 1;
                self.views.totals.closed += 1;
                self.views.forget(place);
            }
        }
        self.sockets[place].close();
        self.calls[place] = None;
        self.put_off.push_back((Moment::now().after(PAUSE), place));
        Ok(())
    }
}
