//! The extension, called and heard as the proxy does it: by its batcher, its calls with the default number of workers and
//! the default limit of a batch, its LISTEN connection and its fold. Only the websockets are missing, and heartbeats.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser as _;
use tailnet_harness::database::Database;
use tailnet_proxy::{
    batch::{
        batcher::{Batcher, Batching, Request},
        request::{Admitted, Authentication},
    },
    config::Config,
    message::Change,
    postgres::{listener::Listener, store::Store},
    state::{fold::Fold, outbox::Outbox},
};
use tailnet_wire::{Assembler, Event, SessionId};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{
    common::node::{self, LARGE},
    engines::{
        engine::{Engine, Facts, Heard, Mouth},
        pairs::{COORDINATORS, Pairs, coordinator},
    },
};

/// The function by which nodes change.
const KINDS: &[(&str, &str)] = &[("bind_peers", "tailnet.bind_peers")];

/// Identities of pairs, each client granted its agent. The hash of a token is one of the id.
const IDENTITIES: &str = "
    WITH pairs AS MATERIALIZED (SELECT client, agent FROM unnest($1::uuid[], $2::uuid[]) p(client, agent)),
    identities AS (
        INSERT INTO tailnet_private.identities (id, network_id, role, token_sha256)
        SELECT i.id, $3, i.role, sha256(uuid_send(i.id))
        FROM pairs, LATERAL (VALUES (client, 'client'), (agent, 'agent')) i(id, role)
        RETURNING id)
    INSERT INTO tailnet_private.grants (client_id, agent_id) SELECT client, agent FROM pairs";

/// The node of a peer that waits to be bound; a newer one takes its place.
#[derive(Debug)]
struct Node(String);

impl Request for Node {
    const WORKER: &'static str = "binder";

    fn merge(self, newer: Self) -> Self {
        newer
    }
}

/// Four coordinators on one database with the extension.
#[derive(Debug)]
pub struct Extension {
    pairs: Arc<Pairs>,
    coordinators: Vec<Coordinator>,
}

#[derive(Debug)]
struct Coordinator {
    registration: Uuid,
    sessions: HashMap<Uuid, SessionId>,
    binder: Arc<Batcher<SessionId, Node>>,
    payloads: Arc<AtomicU64>,
    store: Store,
    batching: Batching,
    workers: usize,
    /// Ended when they are dropped.
    _tasks: JoinSet<()>,
}

impl Extension {
    /// Makes a database with these pairs, attaches all of them, and opens their tunnels.
    pub async fn start(pairs: Arc<Pairs>, mouth: &Mouth) -> Result<(Self, Facts)> {
        let database = Database::create(COORDINATORS).await?;
        let sql = database.connect().await?;
        let network: Uuid = sql.query_one("SELECT tailnet.create_network('engines')", &[]).await?.get(0);
        let (clients, agents): (Vec<_>, Vec<_>) = pairs.ends().unzip();
        sql.execute(IDENTITIES, &[&clients, &agents, &network]).await.context("cannot create identities")?;
        let hashes = sql.query("SELECT sha256(uuid_send(id)) FROM unnest($1::uuid[]) id", &[&pairs.ids()]).await?;
        let hashes: Vec<Vec<u8>> = hashes.iter().map(|row| row.get(0)).collect();
        let mut coordinators = Vec::new();
        for place in 0..COORDINATORS {
            coordinators.push(Coordinator::start(&database, place, &pairs, &hashes, mouth).await?);
        }
        for coordinator in &mut coordinators {
            coordinator.open_tunnels(&pairs).await?;
        }
        let facts = Facts {
            database,
            table: "tailnet_private.peers",
            kinds: KINDS,
            ids: pairs.ids().to_vec(),
            listeners: 1,
            // The store that attached, the workers, and the one that listens.
            connections: coordinators.iter().map(|coordinator| coordinator.workers + 2).sum(),
        };
        Ok((Self { pairs, coordinators }, facts))
    }
}

impl Engine for Extension {
    fn announce(&self, place: usize, version: u64) {
        let (id, coordinator) = (self.pairs.id(place), &self.coordinators[coordinator(place)]);
        coordinator.binder.push(coordinator.sessions[&id], Node(LARGE.text(id, version)));
    }

    fn payloads(&self) -> Vec<u64> {
        self.coordinators.iter().map(|coordinator| coordinator.payloads.load(Ordering::Relaxed)).collect()
    }
}

impl Coordinator {
    async fn start(
        database: &Database,
        place: usize,
        pairs: &Arc<Pairs>,
        hashes: &[Vec<u8>],
        mouth: &Mouth,
    ) -> Result<Self> {
        let login = database.url(&database.logins()[place])?;
        let config = Config::try_parse_from(["tailnet-proxy", "--database-url", &login])?;
        let mut store = Store::connect(&config.database_url, "control").await?;
        let registration = store.register_coordinator(Uuid::new_v4(), &format!("engines-{place}")).await?;
        let listener = Listener::listen(&config.database_url, registration).await?;

        let (mut fold, mut sessions, mut outboxes) = (Fold::default(), HashMap::new(), HashMap::new());
        let mut proofs = HashMap::new();
        let held: Vec<_> = pairs.held_by(place).collect();
        let batching = config.batching();
        for batch in held.chunks(batching.limit) {
            let hashes: Vec<&[u8]> = batch.iter().map(|place| hashes[*place].as_slice()).collect();
            for answer in store.authenticate(&hashes, &vec![""; hashes.len()]).await?.answers {
                let Authentication::Admitted(Admitted { id, proof, .. }) = answer else {
                    bail!("a token is no good: {answer:?}")
                };
                proofs.insert(id, proof);
                sessions.insert(id.peer, id);
                outboxes.insert(id.peer, fold.open(id).context("a session has a newer one")?);
            }
        }
        let (payloads, mut tasks) = (Arc::new(AtomicU64::new(0)), JoinSet::new());
        let ear = Ear { pairs: Arc::clone(pairs), fold, outboxes, payloads: Arc::clone(&payloads) };
        tasks.spawn(report(ear.listen(listener, mouth.clone()), mouth.clone()));
        let ids: Vec<SessionId> = sessions.values().copied().collect();
        for batch in ids.chunks(batching.limit) {
            let proofs: Vec<&str> = batch.iter().map(|id| proofs[id].as_str()).collect();
            store.attach_peers(registration, batch, &proofs, &vec![None; batch.len()]).await?;
        }
        let (binder, workers) = (Arc::<Batcher<_, _>>::default(), config.workers().binder);
        for _ in 0..workers {
            let store = Store::connect(&config.database_url, Node::WORKER).await?;
            tasks.spawn(report(bind(store, registration, Arc::clone(&binder), batching), mouth.clone()));
        }
        Ok(Self { registration, sessions, binder, payloads, store, batching, workers, _tasks: tasks })
    }

    async fn open_tunnels(&mut self, pairs: &Pairs) -> Result<()> {
        let ends = pairs.ends().filter_map(|(client, agent)| Some((*self.sessions.get(&client)?, agent)));
        for batch in ends.collect::<Vec<_>>().chunks(self.batching.limit) {
            self.store.open_tunnels(self.registration, batch).await?;
        }
        Ok(())
    }
}

/// A binder's work, as in the proxy.
async fn bind(
    mut store: Store,
    registration: Uuid,
    binder: Arc<Batcher<SessionId, Node>>,
    batching: Batching,
) -> Result<()> {
    loop {
        let batch = binder.take(batching).await;
        let ids: Vec<_> = batch.iter().map(|(id, _)| *id).collect();
        let nodes: Vec<_> = batch.iter().map(|(_, node)| node.0.as_str()).collect();
        store.bind_peers(registration, &ids, &nodes).await?;
        binder.finish(ids, Vec::new());
    }
}

/// Says why a task ended.
async fn report(task: impl Future<Output = Result<()>>, mouth: Mouth) {
    if let Err(error) = task.await {
        // Nobody listens when the run is over.
        let _ = mouth.send(Err(error));
    }
}

/// Reads the log of one coordinator.
struct Ear {
    pairs: Arc<Pairs>,
    fold: Fold,
    outboxes: HashMap<Uuid, Arc<Outbox>>,
    payloads: Arc<AtomicU64>,
}

impl Ear {
    async fn listen(mut self, mut listener: Listener, mouth: Mouth) -> Result<()> {
        let mut assembler = Assembler::default();
        while let Some(payload) = listener.payloads.recv().await {
            self.payloads.fetch_add(1, Ordering::Relaxed);
            let Some(events) = assembler.push(&payload)? else { continue };
            let mut heard = Vec::new();
            for event in events {
                let touched = self.touched(&event)?;
                ensure!(self.fold.apply(event).is_none(), "the view of a pair has a second page");
                self.deliver(&touched, &mut heard)?;
            }
            // Nobody listens when the run is over.
            let _ = mouth.send(Ok(heard));
        }
        bail!("the LISTEN connection ended")
    }

    /// Those who may be told something by an event. The fold knows who is.
    fn touched(&self, event: &Event) -> Result<Vec<Uuid>> {
        let partner = |id: &Uuid| {
            let place = self.pairs.place(*id).context("an event is about a peer that nobody made")?;
            anyhow::Ok(self.pairs.id(crate::engines::pairs::partner(place)))
        };
        Ok(match event {
            Event::Changed { id, .. } => vec![partner(id)?],
            Event::View { id, .. } => vec![*id],
            Event::Opened { src, .. } => vec![*src, partner(src)?],
            other => bail!("unexpected event {other:?}"),
        })
    }

    /// Takes what sessions would write to their websockets.
    fn deliver(&self, ids: &[Uuid], heard: &mut Vec<Heard>) -> Result<()> {
        for outbox in ids.iter().filter_map(|id| self.outboxes.get(id)) {
            let delivery = outbox.take();
            ensure!(delivery.ending.is_none() && delivery.refused.is_empty(), "a session was refused: {delivery:?}");
            for update in delivery.updates {
                let Change::Node(node) = &update.change else { bail!("unexpected {update:?}") };
                let place = self.pairs.place(update.id).context("an update is about a peer that nobody made")?;
                let version = node::version(node.as_str().as_bytes()).context("a node is none that was announced")?;
                heard.push(Heard { place, version, at: Instant::now() });
            }
        }
        Ok(())
    }
}
