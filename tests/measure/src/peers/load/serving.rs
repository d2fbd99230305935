//! The loop that serves the peers of a load process.

use std::{
    io,
    os::fd::AsRawFd as _,
    sync::mpsc::{Receiver, TryRecvError},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use mio::{Events, Interest, Token, unix::SourceFd};

use super::{
    peers::{Peers, end},
    schedule::Schedule,
    talk::{COMMAND, DUE, say},
};
use crate::{
    common::timer::{TOGETHER, Timer},
    peers::{
        clock::Moment,
        control::{Answer, Command, End, Progress},
    },
};

/// Events of one look.
const EVENTS: usize = 1024;

/// Between two words about how far the connecting is.
const PROGRESS: Duration = Duration::from_millis(50);

/// The peers, and what is being done with them.
#[derive(Debug)]
pub struct Service {
    peers: Peers,
    timer: Timer,
    schedule: Option<Schedule>,
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
        Ok(Self { peers, timer, schedule: None, progress: None, awaited: false, hub_awaited: false })
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
            self.peers.connect()?;
            self.tell()?;
        }
    }

    /// How long there may be nothing to do.
    fn patience(&self) -> Option<Duration> {
        let now = Moment::now();
        let due = self.schedule.as_ref().and_then(Schedule::at).map(|at| at.max(now.after(TOGETHER)));
        let again = self.peers.put_off.front().map(|(at, _)| *at);
        [due, again, self.progress].into_iter().flatten().min().map(|at| at.since(now))
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
        if self.peers.views.all_heard() && self.schedule.as_ref().is_some_and(|schedule| schedule.at().is_none()) {
            self.schedule = None;
            say(&Answer::Updated(std::mem::take(&mut self.peers.views.updated)))?;
        }
        Ok(())
    }

    /// Announces all that is due.
    fn update(&mut self) -> Result<()> {
        while let Some(next) = self.schedule.as_mut().and_then(|schedule| schedule.due(Moment::now())) {
            self.peers.announce(next.place)?;
            self.peers.views.was_due(next.place, next.at, next.is_measured);
        }
        Ok(())
    }
}
