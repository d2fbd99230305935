//! The loop that serves the peers of a load process.

use std::{
    io,
    os::fd::AsRawFd as _,
    sync::mpsc::{Receiver, TryRecvError},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use mio::{Events, Interest, Token, unix::SourceFd};
use tailnet_tools::websocket::Protocol;

use super::{
    peers::{Peers, end},
    schedule::Schedule,
    talk::{COMMAND, DUE, say},
};
use crate::{
    common::timer::{TOGETHER, Timer},
    peers::{
        clock::Moment,
        control::{Answer, Command, End, Progress, Update},
    },
};

/// Events of one look.
const EVENTS: usize = 1024;

/// Between two words about how far the connecting is.
const PROGRESS: Duration = Duration::from_millis(50);

/// How often a peer that speaks v2 pings, as Go's yamux does.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// Pings that are due within this time go together: it is no time that anybody measures.
const PINGS_TOGETHER: Duration = Duration::from_millis(50);

/// Each of so many peers pings once in an interval.
fn pings(peers: usize) -> Schedule {
    let update = Update {
        per_second: peers as f64 / PING_INTERVAL.as_secs_f64(),
        begin: Moment::now(),
        seconds: f64::INFINITY,
        unmeasured_seconds: 0.0,
        seed: 0,
    };
    Schedule::new(update, peers)
}

/// The peers, and what is being done with them.
#[derive(Debug)]
pub struct Service {
    peers: Peers,
    timer: Timer,
    schedule: Option<Schedule>,
    /// Until when each peer announces a node whenever its partner was told the one before; None: not at all.
    saturated_until: Option<Moment>,
    /// Which peer pings when; None: they speak JSON, and the proxy pings them.
    pings: Option<Schedule>,
    /// When the next word about the connecting is due; None: nobody wants to know.
    progress: Option<Moment>,
    /// Somebody wants to know when all views are right.
    awaited: bool,
    /// The same of what they were told of the hub.
    hub_awaited: bool,
}

impl Service {
    pub fn new(peers: Peers) -> Result<Self> {
        let timer = Timer::new().context("cannot make a timer")?;
        let source = &mut SourceFd(&timer.as_raw_fd());
        peers.poll.registry().register(source, DUE, Interest::READABLE).context("cannot wait for a timer")?;
        let pings = (peers.protocol == Protocol::V2).then(|| pings(peers.sockets.len()));
        Ok(Self {
            peers,
            timer,
            schedule: None,
            saturated_until: None,
            pings,
            progress: None,
            awaited: false,
            hub_awaited: false,
        })
    }

    /// Does what the commands say until nobody sends any.
    pub fn serve(&mut self, commands: &Receiver<Result<Command>>) -> Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            if let Some(patience) = self.patience() {
                self.timer.set(patience).context("cannot set a timer")?;
            }
            match self.peers.poll.poll(&mut events, None) {
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
                    DUE => {}
                    Token(place) => self.peers.ready(place, event)?,
                }
            }
            self.update()?;
            self.ping()?;
            self.peers.connect()?;
            self.tell()?;
        }
    }

    /// How long there may be nothing to do.
    fn patience(&self) -> Option<Duration> {
        let now = Moment::now();
        let due = self.schedule.as_ref().and_then(Schedule::at).map(|at| at.max(now.after(TOGETHER)));
        let ping = self.pings.as_ref().and_then(Schedule::at).map(|at| at.max(now.after(PINGS_TOGETHER)));
        let again = self.peers.put_off.front().map(|(at, _)| *at);
        [due, ping, again, self.saturated_until, self.progress].into_iter().flatten().min().map(|at| at.since(now))
    }

    fn obey(&mut self, command: Command) -> Result<()> {
        match command {
            Command::Hold(_) => bail!("it holds peers already"),
            Command::Connect => {
                for place in 0..self.peers.sockets.len() {
                    self.peers.queues[end(place)].push_back(place);
                }
                self.progress = Some(Moment::now());
            }
            Command::Update(update) => {
                self.peers.views.updated = Default::default();
                self.schedule = Some(Schedule::new(update, self.peers.sockets.len()));
            }
            Command::Saturate(until) => {
                self.peers.views.updated = Default::default();
                self.peers.views.heard = Some((0..self.peers.sockets.len()).collect());
                self.saturated_until = Some(until);
            }
            Command::Announce(ends) => {
                let wanted = |place: &usize| ends.contains(&[End::Agent, End::Client][end(*place)]);
                for place in (0..self.peers.sockets.len()).filter(wanted) {
                    self.peers.announce(place)?;
                }
                say(&Answer::Announced(Moment::now()))?;
            }
            Command::Await => self.awaited = true,
            Command::Recite => say(&Answer::Said(self.peers.views.said()))?,
            Command::Expect(hub) => {
                self.peers.views.expect(hub);
                say(&Answer::Ready)?;
            }
            Command::AwaitHub => self.hub_awaited = true,
            Command::Report => say(&Answer::Totals(self.peers.views.totals.clone()))?,
        }
        Ok(())
    }

    /// Says what somebody wants to know, as soon as it is so.
    fn tell(&mut self) -> Result<()> {
        let now = Moment::now();
        if self.progress.is_some_and(|at| at <= now) {
            say(&Answer::Progress(Progress {
                at: now,
                connected: self.peers.connected,
                right: self.peers.views.right(),
            }))?;
            self.progress = Some(now.after(PROGRESS));
        }
        if let Some(since) = self.peers.views.all_right_since().filter(|_| self.awaited || self.progress.is_some()) {
            if self.progress.take().is_some() {
                say(&Answer::Progress(Progress {
                    at: now,
                    connected: self.peers.connected,
                    right: self.peers.views.right(),
                }))?;
            }
            self.awaited = false;
            say(&Answer::Right(since))?;
        }
        if let Some(since) = self.peers.views.hub_right_since().filter(|_| self.hub_awaited) {
            self.hub_awaited = false;
            say(&Answer::Right(since))?;
        }
        let is_over = self.schedule.as_ref().is_some_and(|schedule| schedule.at().is_none())
            || self.saturated_until.is_some_and(|until| until <= now);
        if self.peers.views.all_heard() && is_over {
            (self.schedule, self.saturated_until) = (None, None);
            say(&Answer::Updated(std::mem::take(&mut self.peers.views.updated)))?;
        }
        Ok(())
    }

    fn ping(&mut self) -> Result<()> {
        while let Some(next) = self.pings.as_mut().and_then(|pings| pings.due(Moment::now())) {
            self.peers.ping(next.place)?;
        }
        Ok(())
    }

    /// Announces all that is due.
    fn update(&mut self) -> Result<()> {
        while let Some(next) = self.schedule.as_mut().and_then(|schedule| schedule.due(Moment::now())) {
            self.peers.announce(next.place)?;
            self.peers.views.was_due(next.place, next.at, next.is_measured);
        }
        let Some(until) = self.saturated_until else { return Ok(()) };
        let heard = self.peers.views.heard.as_mut().map(std::mem::take).unwrap_or_default();
        for place in heard {
            let now = Moment::now();
            if now >= until {
                self.peers.views.heard = None;
                break;
            }
            self.peers.announce(place)?;
            self.peers.views.was_due(place, now, true);
        }
        Ok(())
    }
}
