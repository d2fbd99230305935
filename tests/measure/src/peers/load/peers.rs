//! The peers of a load process, and the loop that serves them.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::mpsc::{Receiver, TryRecvError},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use mio::{Events, Poll, Token};

use super::{
    COMMAND, say,
    schedule::Schedule,
    socket::{Socket, Stage},
    views::Views,
    wire,
};
use crate::peers::{
    clock::Moment,
    control::{Answer, Command, End, Hold, Progress},
};

/// Events of one look.
const EVENTS: usize = 1024;

/// Bytes of one read.
const BUFFER: usize = 64 << 10;

/// As the proxies' `Retry-After` says.
const PAUSE: Duration = Duration::from_secs(2);

/// Between two words about how far the connecting is.
const PROGRESS: Duration = Duration::from_millis(50);

/// Everybody, and what is being done.
#[derive(Debug)]
pub struct Peers {
    poll: Poll,
    pub(super) proxies: [SocketAddr; 2],
    in_flight: usize,
    pub(super) tokens: Vec<String>,
    pub(super) sockets: Vec<Socket>,
    pub(super) views: Views,
    pub(super) buffer: Vec<u8>,
    /// Bytes that are being made.
    pub(super) frame: Vec<u8>,
    /// Peers that are to be connected, by proxy.
    queues: [VecDeque<usize>; 2],
    /// Websockets that are being opened, by proxy.
    pub(super) opening: [usize; 2],
    /// Websockets that are open.
    connected: usize,
    /// Peers that were put off, and until when.
    put_off: VecDeque<(Moment, usize)>,
    schedule: Option<Schedule>,
    /// When the next word about the connecting is due; None: nobody wants to know.
    progress: Option<Moment>,
    /// Somebody wants to know when all views are right.
    awaited: bool,
    /// The same of what they were told of the hub.
    hub_awaited: bool,
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
            schedule: None,
            progress: None,
            awaited: false,
            hub_awaited: false,
        }
    }

    /// Does what the commands say until nobody sends any.
    pub fn serve(&mut self, commands: &Receiver<Result<Command>>) -> Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            match self.poll.poll(&mut events, self.patience()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                polled => polled.context("cannot wait for events")?,
            }
            for event in &events {
                match event.token() {
                    COMMAND => loop {
                        match commands.try_recv() {
                            Ok(command) => self.obey(command.context("cannot read a command")?)?,
                            Err(TryRecvError::Empty) => break,
                            Err(TryRecvError::Disconnected) => return Ok(()),
                        }
                    },
                    Token(place) => self.ready(place, event)?,
                }
            }
            self.update()?;
            self.connect()?;
            self.tell()?;
        }
    }

    /// How long there may be nothing to do.
    fn patience(&self) -> Option<Duration> {
        let due = self.schedule.as_ref().and_then(Schedule::at);
        let again = self.put_off.front().map(|(at, _)| *at);
        let now = Moment::now();
        [due, again, self.progress].into_iter().flatten().min().map(|at| at.since(now))
    }

    fn obey(&mut self, command: Command) -> Result<()> {
        match command {
            Command::Hold(_) => bail!("it holds peers already"),
            Command::Connect => {
                for place in 0..self.sockets.len() {
                    self.queues[end(place)].push_back(place);
                }
                self.progress = Some(Moment::now());
            }
            Command::Update(update) => {
                self.views.updated = Default::default();
                self.schedule = Some(Schedule::new(update, self.sockets.len()));
            }
            Command::Announce(ends) => {
                let wanted = |place: &usize| ends.contains(&[End::Agent, End::Client][end(*place)]);
                for place in (0..self.sockets.len()).filter(wanted) {
                    self.announce(place)?;
                }
                say(&Answer::Announced(Moment::now()))?;
            }
            Command::Await => self.awaited = true,
            Command::Recite => say(&Answer::Said(self.views.said()))?,
            Command::Expect(hub) => {
                self.views.expect(hub);
                say(&Answer::Ready)?;
            }
            Command::AwaitHub => self.hub_awaited = true,
            Command::Report => say(&Answer::Totals(self.views.totals.clone()))?,
        }
        Ok(())
    }

    /// Says what somebody wants to know, as soon as it is so.
    fn tell(&mut self) -> Result<()> {
        let now = Moment::now();
        if self.progress.is_some_and(|at| at <= now) {
            say(&Answer::Progress(Progress { at: now, connected: self.connected, right: self.views.right() }))?;
            self.progress = Some(now.after(PROGRESS));
        }
        if let Some(since) = self.views.all_right_since().filter(|_| self.awaited || self.progress.is_some()) {
            if self.progress.take().is_some() {
                say(&Answer::Progress(Progress { at: now, connected: self.connected, right: self.views.right() }))?;
            }
            self.awaited = false;
            say(&Answer::Right(since))?;
        }
        if let Some(since) = self.views.hub_right_since().filter(|_| self.hub_awaited) {
            self.hub_awaited = false;
            say(&Answer::Right(since))?;
        }
        if self.views.all_heard() && self.schedule.as_ref().is_some_and(|schedule| schedule.at().is_none()) {
            self.schedule = None;
            say(&Answer::Updated(std::mem::take(&mut self.views.updated)))?;
        }
        Ok(())
    }

    /// Announces all that is due.
    fn update(&mut self) -> Result<()> {
        while let Some(next) = self.schedule.as_mut().and_then(|schedule| schedule.due(Moment::now())) {
            self.announce(next.place)?;
            self.views.was_due(next.place, next.at, next.is_measured);
        }
        Ok(())
    }

    /// The next node of a peer.
    fn announce(&mut self, place: usize) -> Result<()> {
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
    fn connect(&mut self) -> Result<()> {
        let now = Moment::now();
        while let Some((_, place)) = self.put_off.pop_front_if(|(at, _)| *at <= now) {
            self.queues[end(place)].push_back(place);
        }
        for proxy in 0..2 {
            while self.opening[proxy] < self.in_flight
                && let Some(place) = self.queues[proxy].pop_front()
            {
                let (address, registry) = (self.proxies[proxy], self.poll.registry());
                self.sockets[place].connect(address, registry, Token(place)).context("cannot open a connection")?;
                self.opening[proxy] += 1;
            }
        }
        Ok(())
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
