//! An agent and a client that want to know each other.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use anyhow::anyhow;
use tailnet_tools::{checking::light_peer::Door, identity::TestIdentity};
use tokio::{
    sync::{Semaphore, mpsc},
    time::{timeout, timeout_at},
};
use uuid::Uuid;

use super::{
    figures::Coordination,
    member::{Member, News},
};
use crate::{record::Record, trace::Trace};

/// A runner: both ends, and what happens to them.
#[derive(Debug)]
pub struct Pair {
    pub number: usize,
    pub agent: Member,
    pub client: Member,
    /// It takes no part any more.
    pub has_failed: bool,
    /// One of the two has left for a time, or the tunnel was closed.
    pub has_left: bool,
    pub hub: Option<Uuid>,
    /// Those of the nodes of agent and client.
    versions: [u64; 2],
    events: mpsc::UnboundedReceiver<Event>,
    sender: mpsc::UnboundedSender<Event>,
}

/// What a pair waits for.
#[derive(Debug)]
pub enum Event {
    /// One end was told a node.
    Told { end: End, of: Uuid, version: u64, at: Instant },
    /// One end was told that another peer has left, or that there is no tunnel to it any more.
    Parted { end: End, of: Uuid },
    /// The agent must change its node: it should have done so at this moment.
    Due(Instant),
    /// Nothing is due any more.
    Over,
}

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Agent,
    Client,
}

/// What is wrong, and with which of the two.
pub type Fault = (End, anyhow::Error);

impl End {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Agent => Self::Client,
            Self::Client => Self::Agent,
        }
    }
}

impl Pair {
    /// One that is not connected, with the ends on these proxies. A hub has a tunnel to the agent, if there is one.
    pub fn new(number: usize, ends: [TestIdentity; 2], doors: [Door; 2], hub: Option<Uuid>, trace: &Trace) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let ([agent, client], [agent_door, client_door]) = (ends, doors);
        let agent = Member::new(agent, Some(number), agent_door, trace);
        let client = Member::new(client, Some(number), client_door, trace);
        for (end, member) in [(End::Agent, &agent), (End::Client, &client)] {
            let sender = sender.clone();
            member.hear(move |of, news| {
                // The pair may be gone.
                let _ = sender.send(match news {
                    News::Node(version) => Event::Told { end, of, version, at: Instant::now() },
                    News::Disconnected => Event::Parted { end, of },
                });
            });
        }
        Self { number, agent, client, has_failed: false, has_left: false, hub, versions: [1, 1], events, sender }
    }

    /// For who says what is due.
    pub fn sender(&self) -> mpsc::UnboundedSender<Event> {
        self.sender.clone()
    }

    /// One of the two.
    pub fn end(&self, end: End) -> &Member {
        match end {
            End::Agent => &self.agent,
            End::Client => &self.client,
        }
    }

    /// The same, to let it do something.
    pub fn end_mut(&mut self, end: End) -> &mut Member {
        match end {
            End::Agent => &mut self.agent,
            End::Client => &mut self.client,
        }
    }

    /// The version of the node of one of the two.
    pub fn version(&self, end: End) -> u64 {
        self.versions[end as usize]
    }

    /// The next version of it.
    pub fn next_version(&mut self, end: End) -> u64 {
        self.versions[end as usize] += 1;
        self.version(end)
    }

    /// One of the two announces the current version of its node; the client asks for the tunnel, too.
    pub async fn announce(&mut self, end: End) {
        let (version, agent) = (self.version(end), self.agent.id);
        match end {
            End::Agent => self.agent.peer.announce(version).await,
            End::Client => self.client.peer.announce_and_open(version, agent).await,
        }
    }

    /// What should not have happened to one of the two.
    pub fn trouble(&self, end: End) -> Option<anyhow::Error> {
        self.end(end).trouble(|_| self.has_left)
    }

    /// Notes how a phase went.
    pub fn passed(&mut self, outcome: Result<(), Fault>, record: &Record<Coordination>) {
        if let Err((end, error)) = outcome {
            self.has_failed = true;
            self.end(end).fail(record, &error);
        }
    }

    /// Connects both ends, and returns when each was told the node of the other, and the agent that of the hub.
    ///
    /// # Errors
    /// When that takes longer than `patience`, or goes wrong.
    pub async fn load(
        &mut self,
        patience: Duration,
        permits: &Semaphore,
        record: &Record<Coordination>,
    ) -> Result<(), Fault> {
        let permit = permits.acquire().await.expect("nobody closes the semaphore");
        let begun = Instant::now();
        let agent_id = self.agent.id;
        let mut missing = vec![(End::Client, agent_id), (End::Agent, self.client.id)];
        missing.extend(self.hub.map(|hub| (End::Agent, hub)));
        let meeting = async {
            let agent = async {
                record.connected(self.agent.connect(patience).await.map_err(|error| (End::Agent, error))?);
                self.agent.peer.announce(1).await;
                Ok(())
            };
            let client = async {
                record.connected(self.client.connect(patience).await.map_err(|error| (End::Client, error))?);
                self.client.peer.announce_and_open(1, agent_id).await;
                Ok(())
            };
            tokio::try_join!(agent, client)?;
            drop(permit);
            let mut last = begun;
            while !missing.is_empty() {
                if let Event::Told { end, of, at, .. } = self.next().await? {
                    missing.retain(|view| *view != (end, of));
                    last = at;
                }
            }
            Ok(last)
        };
        match timeout(patience, meeting).await {
            Ok(met) => met.map(|last| record.met(begun, last)),
            Err(_) => {
                let unconnected = [End::Agent, End::Client].into_iter().find(|end| !self.end(*end).peer.is_connected());
                Err(match (unconnected, missing.first()) {
                    (Some(end), _) => (end, anyhow!("not connected to {} in {patience:?}", self.end(end).url())),
                    (None, Some((end, of))) => (*end, anyhow!("not told the node of {of} in {patience:?}")),
                    (None, None) => unreachable!("it would have met"),
                })
            }
        }
    }

    /// Changes the agent's node when that is due, until it is over and the client was told all of it.
    ///
    /// # Errors
    /// When what is under way at the end takes longer than `patience`, or something goes wrong.
    pub async fn update(&mut self, patience: Duration, record: &Record<Coordination>) -> Result<(), Fault> {
        let mut under_way = VecDeque::new();
        let mut deadline = None;
        while deadline.is_none() || !under_way.is_empty() {
            let event = match deadline {
                None => self.next().await?,
                Some(deadline) => timeout_at(deadline, self.next()).await.map_err(|_| {
                    (End::Client, anyhow!("not told {} updates of its agent in {patience:?}", under_way.len()))
                })??,
            };
            match event {
                Event::Due(due) => {
                    let version = self.next_version(End::Agent);
                    under_way.push_back((version, due));
                    let late = due.elapsed();
                    self.agent.peer.announce(version).await;
                    record.metrics.updates_sent.inc();
                    record.updates(|updates| {
                        updates.sent += 1;
                        updates.late_ms_max = updates.late_ms_max.max(late.as_secs_f64() * 1e3);
                    });
                }
                Event::Told { end: End::Client, of, version, at } if of == self.agent.id => {
                    record.updates(|updates| {
                        while let Some((sent, due)) = under_way.pop_front_if(|(sent, _)| *sent <= version) {
                            updates.heard += 1;
                            updates.merged += u64::from(sent < version);
                            let latency = at.saturating_duration_since(due);
                            updates.latency_ms.add(latency);
                            record.metrics.updates_heard.inc();
                            record.metrics.update_seconds.observe(latency.as_secs_f64());
                        }
                    });
                }
                Event::Told { .. } | Event::Parted { .. } => {}
                Event::Over => deadline = Some(tokio::time::Instant::now() + patience),
            }
        }
        Ok(())
    }

    /// What happens next. May be cancelled.
    ///
    /// # Errors
    /// When the proxy closes a websocket.
    pub async fn next(&mut self) -> Result<Event, Fault> {
        let Self { agent, client, events, .. } = self;
        let ended = tokio::select! {
            biased;
            event = events.recv() => return Ok(event.expect("the pair has a sender itself")),
            () = agent.closed() => End::Agent,
            () = client.closed() => End::Client,
        };
        let trouble = self.trouble(ended);
        Err((ended, trouble.unwrap_or_else(|| anyhow!("closed"))))
    }
}
