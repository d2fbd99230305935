//! An agent and a client that move bytes.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, bail, ensure};
use tailnet_tools::{
    checking::light_peer::Door,
    identity::TestIdentity,
    peer::{agent::Agent, client::Client, identity::Identity, pace::Pace},
    program::Progress,
};
use tokio::{
    sync::{Semaphore, mpsc, oneshot, watch},
    time::{timeout, timeout_at},
};
use tracing::Instrument as _;
use uuid::Uuid;

use super::{figures::Flow, tally::Tally};
use crate::{
    metrics::Bytes,
    record::Record,
    trace::{Runner, Trace},
    who::Who,
};

/// A runner.
pub struct Pair {
    number: usize,
    agent: End,
    client: End,
}

/// One of the two.
struct End {
    identity: Identity,
    who: Who,
    span: tracing::Span,
    trace: Runner,
    tally: Tally,
}

/// What all runners share.
#[derive(Debug)]
pub struct Shared {
    pub seed: u64,
    /// `--job-timeout`
    pub patience: Duration,
    /// For those that connect and shake hands.
    pub permits: Semaphore,
    pub record: Arc<Record<Flow>>,
    /// None: bytes do not move yet.
    pub pace: watch::Sender<Option<Pace>>,
}

/// As long as it is there, the pair connects and shakes hands.
#[derive(Debug)]
pub struct Loading {
    progress: Progress,
    /// Who waits for all of them has the other end.
    _pairs: mpsc::Sender<Infallible>,
}

/// What is wrong, and with which of the two.
type Fault<'a> = (&'a End, anyhow::Error);

impl Loading {
    /// Of one pair.
    pub fn new(progress: &Progress, pairs: &mpsc::Sender<Infallible>) -> Self {
        Self { progress: progress.clone(), _pairs: pairs.clone() }
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        self.progress.step();
    }
}

impl Pair {
    /// One that is not connected, with the ends on these proxies.
    pub fn new(
        number: usize,
        ends: [TestIdentity; 2],
        doors: [Door; 2],
        agents: &Bytes,
        clients: &Bytes,
        trace: &Trace,
    ) -> Self {
        let ([agent, client], [agent_door, client_door]) = (ends, doors);
        let agent = End::new(agent, number, agent_door, agents, trace);
        let client = End::new(client, number, client_door, clients, trace);
        Self { number, agent, client }
    }

    /// All that it does.
    pub async fn run(self, shared: Arc<Shared>, loading: Loading) {
        let mut loading = Some(loading);
        match self.work(&shared, &mut loading).await {
            Ok(()) => shared.record.pass(),
            Err((end, error)) => {
                let tally = &self.client.tally;
                let error = anyhow!("{error:#}, with {} bytes read and {} written", tally.read(), tally.written());
                end.trace.failed(&error);
                shared.record.fail(end.who.clone(), &end.span, &error);
            }
        }
    }

    async fn work(&self, shared: &Shared, loading: &mut Option<Loading>) -> Result<(), Fault<'_>> {
        let Self { number, agent, client } = self;
        let permit = shared.permits.acquire().await.expect("nobody closes the semaphore");
        let loaded = || drop((permit, loading.take()));
        let (leaving, left) = oneshot::channel::<Infallible>();
        let serving = async { agent.serve(shared, left).await.map_err(|error| (agent, error)) };
        let sending = async {
            let done = client.send(shared, agent.identity.id, *number, loaded).await;
            drop(leaving);
            done.map_err(|error| (client, error))
        };
        tokio::try_join!(serving.instrument(agent.span.clone()), sending.instrument(client.span.clone()))?;
        Ok(())
    }
}

impl End {
    fn new(identity: TestIdentity, pair: usize, door: Door, all: &Bytes, trace: &Trace) -> Self {
        let who = Who::new(&identity, Some(pair));
        let span = who.span();
        let tally = Tally::new(span.clone(), all.clone());
        let TestIdentity { id, token, .. } = identity;
        let Door { url, protocol, .. } = door;
        let identity = Identity { id, token, url, traceparent: None, protocol };
        let trace = trace.runner(&who);
        Self { identity, who, span, trace, tally }
    }

    /// Who it is to the proxy, which it is about to connect to.
    fn identity(&self) -> Identity {
        Identity { traceparent: self.trace.connects(&self.identity.url), ..self.identity.clone() }
    }

    /// Connects with `start`, in time.
    async fn connect<T>(&self, shared: &Shared, start: impl Future<Output = Result<T>>) -> Result<T> {
        let begun = Instant::now();
        match timeout(shared.patience, start).await {
            Ok(started) => {
                let started = started?;
                shared.record.connected(begun.elapsed());
                self.trace.connected();
                tracing::debug!(proxy = self.identity.url, "connected");
                Ok(started)
            }
            Err(_) => bail!("not connected to {} in {:?}", self.identity.url, shared.patience),
        }
    }

    /// The agent: echoes until its client has left.
    async fn serve(&self, shared: &Shared, left: oneshot::Receiver<Infallible>) -> Result<()> {
        let mut agent = self.connect(shared, Agent::start(&self.identity())).await?;
        tokio::select! {
            failed = agent.attend(|served| self.tally.moved(served.received, served.sent)) => match failed? {},
            _ = left => {}
        }
        agent.leave().await
    }

    /// The client: finds the agent, calls `loaded` when it has a session with it, and sends what is due.
    async fn send(&self, shared: &Shared, to: Uuid, pair: usize, loaded: impl FnOnce()) -> Result<()> {
        let (begun, patience) = (Instant::now(), shared.patience);
        let mut client = self.connect(shared, Client::start(&self.identity(), to)).await?;
        match timeout(patience.saturating_sub(begun.elapsed()), client.shake_hands()).await {
            Ok(handshake) => shared.record.ready(begun, handshake?),
            Err(_) => bail!("not ready in {patience:?}: {client}"),
        }
        loaded();
        let mut told = shared.pace.subscribe();
        let pace = tokio::select! {
            failed = client.attend() => match failed? {},
            pace = told.wait_for(Option::is_some) => pace.ok().and_then(|pace| *pace).expect("it has a sender"),
        };
        shared.record.note(|figures, _| figures.traffic.bytes_due += pace.due(pace.until));
        let seed = shared.seed.wrapping_add(pair as u64);
        let echoing = client.echo_at(seed, &pace, |written, read| self.tally.moved(read, written));
        match timeout_at(pace.until + patience, echoing).await {
            Ok(done) => done?,
            Err(_) => bail!("what was under way at the end did not come back in {patience:?}: {client}"),
        }
        ensure!(self.tally.read() > 0, "nothing came back through the tunnel");
        match timeout(patience, client.leave()).await {
            Ok(left) => left,
            Err(_) => bail!("the proxy did not return the goodbye in {patience:?}"),
        }
    }
}
