//! One replica of the prior design: its queues, and the workers of each.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde::Serialize;
use tailnet_proxy::batch::batcher::{Batcher, Batching, Request};
use tokio_postgres::{
    Client, Statement,
    types::{FromSql, ToSql, Type},
};
use uuid::Uuid;

use crate::{
    common::node::version,
    engines::{
        engine::{Heard, Mouth},
        pairs::{Pairs, coordinator},
        prior_sql::{NODES, NOTIFY, NOTIFY_TUNNEL, OPEN_TUNNEL, PARTNERS, UPSERT, UPSERT_AND_NOTIFY},
    },
};

/// The most keys in a lookup.
const BATCH: usize = 50;

/// How a change is told to the other replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Publish {
    /// By a statement of its own after the upsert, as the prior design does today
    Separately,
    /// In the transaction of the upsert, as it did before
    Together,
}

/// What can be tried of the prior design.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How a change is told.
    pub publish: Publish,
    /// Connections of each role, shared by its workers.
    pub connections: usize,
}

impl std::fmt::Display for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let how = match self.publish {
            Publish::Separately => "a statement of its own",
            Publish::Together => "the statement of the upsert",
        };
        write!(f, "notifies by {how}; {} connections for the workers of a role", self.connections)
    }
}

/// What waits in a queue under its key; the newest counts.
#[derive(Debug)]
struct Newest<T>(T);

impl<T> Request for Newest<T> {
    const WORKER: &'static str = "replica";

    fn merge(self, newer: Self) -> Self {
        newer
    }
}

/// Its queues. Each takes a key once, and gives none to two workers at the same time.
#[derive(Debug)]
pub struct Replica {
    /// Payloads that it has received.
    pub payloads: AtomicU64,
    id: Uuid,
    place: usize,
    pairs: Arc<Pairs>,
    publish: Publish,
    bindings: Batcher<Uuid, Newest<String>>,
    tunnels: Batcher<(Uuid, Uuid), Newest<()>>,
    changed: Batcher<Uuid, Newest<()>>,
    mappings: Batcher<Uuid, Newest<()>>,
    /// The node that a peer was last told of a partner.
    told: Mutex<HashMap<(Uuid, Uuid), String>>,
}

/// A parameter of a statement.
type Param<'a> = &'a (dyn ToSql + Sync);

/// The text of a `json`.
struct Json<'a>(&'a str);

impl<'a> FromSql<'a> for Json<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(std::str::from_utf8(raw)?))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::JSON
    }
}

/// What a worker does.
#[derive(Debug, Clone, Copy)]
pub enum Role {
    Binder,
    Tunneler,
    /// Looks up the partners of peers that changed.
    Partners,
    /// Looks up the nodes of the partners of its own peers.
    Nodes,
}

impl Replica {
    /// The one in this place, which holds those of the pairs that belong there.
    pub fn new(pairs: Arc<Pairs>, place: usize, publish: Publish) -> Self {
        Self {
            payloads: AtomicU64::new(0),
            id: Uuid::new_v4(),
            place,
            pairs,
            publish,
            bindings: Batcher::default(),
            tunnels: Batcher::default(),
            changed: Batcher::default(),
            mappings: Batcher::default(),
            told: Mutex::default(),
        }
    }

    /// A peer that it holds announces a node.
    pub fn announce(&self, id: Uuid, node: String) {
        self.bindings.push(id, Newest(node));
    }

    /// A peer that it holds opens a tunnel.
    pub fn open_tunnel(&self, src: Uuid, dst: Uuid) {
        self.tunnels.push((src, dst), Newest(()));
    }

    /// Waits until no tunnel waits to be written.
    pub async fn tunnels_written(&self) {
        self.tunnels.idle().await;
    }

    fn holds(&self, id: Uuid) -> bool {
        self.pairs.place(id).is_some_and(|place| coordinator(place) == self.place)
    }

    /// A notification: of a peer that changed, or of the ends of a tunnel that did.
    pub fn heard(&self, payload: &str) -> Result<()> {
        self.payloads.fetch_add(1, Ordering::Relaxed);
        match payload.split_once(',') {
            None => self.changed.push(payload.parse().context("a payload is no uuid")?, Newest(())),
            Some((src, dst)) => {
                for end in [src, dst] {
                    self.look(end.parse().context("a payload has no uuid")?);
                }
            }
        }
        Ok(())
    }

    /// The nodes of the partners of a peer are to be looked up, if it is one of ours.
    fn look(&self, id: Uuid) {
        if self.holds(id) {
            self.mappings.push(id, Newest(()));
        }
    }

    /// One worker's work, which ends when a statement fails.
    pub async fn work(&self, role: Role, client: &Client, mouth: &Mouth) -> Result<()> {
        match role {
            Role::Binder => self.bind(client).await,
            Role::Tunneler => self.tunnel(client).await,
            Role::Partners => self.find_partners(client).await,
            Role::Nodes => self.find_nodes(client, mouth).await,
        }
    }

    async fn bind(&self, client: &Client) -> Result<()> {
        let upsert = match self.publish {
            Publish::Separately => client.prepare(UPSERT).await?,
            Publish::Together => client.prepare(UPSERT_AND_NOTIFY).await?,
        };
        let notify = client.prepare(NOTIFY).await?;
        loop {
            let (id, Newest(node)) = one(&self.bindings).await?;
            let (binding, payload): ([Param<'_>; 3], _) = ([&id, &self.id, &node], id.to_string());
            match self.publish {
                Publish::Together => drop(client.execute(&upsert, &binding).await?),
                Publish::Separately => both(client, (&upsert, &binding), (&notify, &[&payload])).await?,
            }
            self.bindings.finish([id], Vec::new());
        }
    }

    async fn tunnel(&self, client: &Client) -> Result<()> {
        let (open, notify) = (client.prepare(OPEN_TUNNEL).await?, client.prepare(NOTIFY_TUNNEL).await?);
        loop {
            let (ends, _) = one(&self.tunnels).await?;
            let payload = format!("{},{}", ends.0, ends.1);
            both(client, (&open, &[&self.id, &ends.0, &ends.1]), (&notify, &[&payload])).await?;
            self.tunnels.finish([ends], Vec::new());
        }
    }

    async fn find_partners(&self, client: &Client) -> Result<()> {
        let partners: Statement = client.prepare(PARTNERS).await?;
        loop {
            let ids = some(&self.changed).await;
            for row in client.query(&partners, &[&ids]).await? {
                self.look(row.get(0));
            }
            self.changed.finish(ids, Vec::new());
        }
    }

    async fn find_nodes(&self, client: &Client, mouth: &Mouth) -> Result<()> {
        let nodes: Statement = client.prepare(NODES).await?;
        loop {
            let ids = some(&self.mappings).await;
            let mut heard = Vec::new();
            for row in client.query(&nodes, &[&ids]).await? {
                let Json(node) = row.get(2);
                heard.extend(self.tell(row.get(0), row.get(1), node)?);
            }
            let _ = mouth.send(Ok(heard));
            self.mappings.finish(ids, Vec::new());
        }
    }

    /// Tells a peer the node of a partner, unless it knows it.
    fn tell(&self, to: Uuid, about: Uuid, node: &str) -> Result<Option<Heard>> {
        let mut told = self.told.lock().expect("no code panics with this lock held");
        let known = told.entry((to, about)).or_default();
        if known == node {
            return Ok(None);
        }
        node.clone_into(known);
        let place = self.pairs.place(about).context("a node is of a peer that nobody made")?;
        let version = version(node.as_bytes()).context("a node is none that was announced")?;
        Ok(Some(Heard { place, version, at: Instant::now() }))
    }
}

/// Two statements, sent at once and done one after the other: the second need not wait for the answer to the first.
async fn both(
    client: &Client,
    first: (&Statement, &[Param<'_>]),
    second: (&Statement, &[Param<'_>]),
) -> Result<(), tokio_postgres::Error> {
    tokio::try_join!(client.execute(first.0, first.1), client.execute(second.0, second.1)).map(drop)
}

/// The next entry of a queue.
async fn one<K: Copy + Eq + std::hash::Hash, T>(queue: &Batcher<K, Newest<T>>) -> Result<(K, Newest<T>)> {
    match queue.take(at_once(1)).await.pop() {
        Some(entry) => Ok(entry),
        None => bail!("a queue gave nothing"),
    }
}

/// The next keys of a queue.
async fn some<T>(queue: &Batcher<Uuid, Newest<T>>) -> Vec<Uuid> {
    queue.take(at_once(BATCH)).await.into_iter().map(|(id, _)| id).collect()
}

/// Takes what is there, without waiting for more.
fn at_once(limit: usize) -> Batching {
    Batching { limit, linger: Duration::ZERO, least: Duration::ZERO, most: Duration::ZERO }
}
