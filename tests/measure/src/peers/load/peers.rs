//! The peers of a load process.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use mio::{Poll, Token};

use super::{
    socket::{Socket, Stage},
    views::Views,
    wire,
};
use crate::peers::{
    clock::Moment,
    control::{End, Hold},
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
    pub(super) sockets: Vec<Socket>,
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
            sockets: tokens.iter().map(|_| Socket::new()).collect(),
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
        let node = self.views.announce(place, false);
        let text = format!(r#"{{"update_self":{{"node":{node}}}}}"#);
        if self.sockets[place].stage == Stage::Open {
            self.send(place, &text)?;
        }
        Ok(())
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
        let node = self.views.announce(place, true);
        let mut text = format!(r#"{{"update_self":{{"node":{node}}}"#);
        if end(place) == End::Client as usize {
            text += &format!(r#","add_tunnel":{{"id":"{}"}}"#, self.views.partner_id(place));
        }
        text.push('}');
        self.send(place, &text)
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
        self.put_off.push_back((Moment::now().after(PAUSE), place));
        Ok(())
    }
}
