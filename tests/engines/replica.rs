//! One replica of the prior design: its queues, and the workers of each.

use std::{
    collections::HashMap,
    future::poll_fn,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde::Serialize;
use tailnet_proxy::{
    batcher::{Batcher, Request},
    database::Database as Url,
};
use tokio::task::JoinSet;
use tokio_postgres::{
    AsyncMessage, Client, Statement,
    types::{FromSql, ToSql, Type},
};
use uuid::Uuid;

use crate::{
    engine::{Heard, Mouth},
    node::version,
    pairs::{Pairs, coordinator},
};

/// Workers of each role.
const WORKERS: usize = 10;

/// Half of the queriers look for partners, and half for nodes.
const QUERIERS: usize = WORKERS / 2;

/// The most keys in a lookup.
const BATCH: usize = 50;

const UPSERT: &str = "
    INSERT INTO replicas.peers (id, coordinator_id, node, status, updated_at)
    VALUES ($1, $2, $3::text::json, 'ok', now())
    ON CONFLICT (id, coordinator_id) DO UPDATE SET
        node = EXCLUDED.node, status = EXCLUDED.status, updated_at = EXCLUDED.updated_at";

const NOTIFY: &str = "SELECT pg_notify('replicas_peer_update', $1)";

/// In one transaction, as the triggers of the prior design did until 2026.
const UPSERT_AND_NOTIFY: &str = "
    WITH written AS (
        INSERT INTO replicas.peers (id, coordinator_id, node, status, updated_at)
        VALUES ($1, $2, $3::text::json, 'ok', now())
        ON CONFLICT (id, coordinator_id) DO UPDATE SET
            node = EXCLUDED.node, status = EXCLUDED.status, updated_at = EXCLUDED.updated_at
        RETURNING id)
    SELECT pg_notify('replicas_peer_update', id::text) FROM written";

const OPEN_TUNNEL: &str = "
    INSERT INTO replicas.tunnels (coordinator_id, src_id, dst_id, updated_at) VALUES ($1, $2, $3, now())
    ON CONFLICT (coordinator_id, src_id, dst_id) DO UPDATE SET updated_at = EXCLUDED.updated_at";

const PARTNERS: &str = "
    SELECT dst_id AS partner_of FROM replicas.tunnels WHERE src_id = ANY($1)
    UNION ALL
    SELECT src_id FROM replicas.tunnels WHERE dst_id = ANY($1)";

const NODES: &str = "
    SELECT t.lookup_id AS node_for, p.id, p.node
    FROM (
        SELECT dst_id AS id, src_id AS lookup_id FROM replicas.tunnels WHERE src_id = ANY($1)
        UNION
        SELECT src_id, dst_id FROM replicas.tunnels WHERE dst_id = ANY($1)
    ) t
    JOIN replicas.peers p ON p.id = t.id";

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

/// What waits in a queue under its key; the newest counts.
#[derive(Debug)]
struct Newest<T>(T);

impl<T> Request for Newest<T> {
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
    options: Options,
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

/// Starts the workers of a replica, and returns how many connections they have.
///
/// # Errors
/// When Postgres refuses.
pub async fn start(replica: &Arc<Replica>, url: &Url, mouth: &Mouth, tasks: &mut JoinSet<()>) -> Result<usize> {
    let mut connections = 1;
    listen(replica, url, mouth, tasks).await?;
    for (role, workers) in
        [(Role::Binder, WORKERS), (Role::Tunneler, WORKERS), (Role::Partners, QUERIERS), (Role::Nodes, QUERIERS)]
    {
        let mut clients = Vec::new();
        for _ in 0..workers.min(replica.options.connections) {
            clients.push(Arc::new(connect(url, tasks).await?));
        }
        connections += clients.len();
        for client in clients.iter().cycle().take(workers) {
            let (replica, client, mouth) = (Arc::clone(replica), Arc::clone(client), mouth.clone());
            tasks.spawn(async move {
                let Err(error) = replica.work(role, &client, &mouth).await else { return };
                // Nobody listens when the run is over.
                let _ = mouth.send(Err(error));
            });
        }
    }
    Ok(connections)
}

async fn connect(url: &Url, tasks: &mut JoinSet<()>) -> Result<Client> {
    let (client, connection) = url.connect("replica").await.context("cannot connect")?;
    tasks.spawn(async move {
        // Whoever uses the client gets the error.
        let _ = connection.await;
    });
    Ok(client)
}

async fn listen(replica: &Arc<Replica>, url: &Url, mouth: &Mouth, tasks: &mut JoinSet<()>) -> Result<()> {
    let (client, mut connection) = url.connect("listener").await.context("cannot connect")?;
    let (replica, mouth) = (Arc::clone(replica), mouth.clone());
    tasks.spawn(async move {
        loop {
            match poll_fn(|cx| connection.poll_message(cx)).await {
                Some(Ok(AsyncMessage::Notification(notification))) => {
                    if let Err(error) = replica.heard(notification.payload()) {
                        let _ = mouth.send(Err(error));
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => drop(mouth.send(Err(error.into()))),
                None => return,
            }
        }
    });
    client.batch_execute("LISTEN replicas_peer_update; LISTEN replicas_tunnel_update").await?;
    // The connection ends with its client.
    tasks.spawn(async move {
        std::future::pending::<()>().await;
        drop(client);
    });
    Ok(())
}

#[derive(Debug, Clone, Copy)]
enum Role {
    Binder,
    Tunneler,
    Partners,
    Nodes,
}

impl Replica {
    /// The one in this place, which holds those of the pairs that belong there.
    pub fn new(pairs: Arc<Pairs>, place: usize, options: Options) -> Self {
        Self {
            payloads: AtomicU64::new(0),
            id: Uuid::new_v4(),
            place,
            pairs,
            options,
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
    fn heard(&self, payload: &str) -> Result<()> {
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

    async fn work(&self, role: Role, client: &Client, mouth: &Mouth) -> Result<()> {
        match role {
            Role::Binder => self.bind(client).await,
            Role::Tunneler => self.tunnel(client).await,
            Role::Partners => self.find_partners(client).await,
            Role::Nodes => self.find_nodes(client, mouth).await,
        }
    }

    async fn bind(&self, client: &Client) -> Result<()> {
        let upsert = match self.options.publish {
            Publish::Separately => client.prepare(UPSERT).await?,
            Publish::Together => client.prepare(UPSERT_AND_NOTIFY).await?,
        };
        let notify = client.prepare(NOTIFY).await?;
        loop {
            let (id, Newest(node)) = one(&self.bindings).await?;
            let (binding, payload): ([Param<'_>; 3], _) = ([&id, &self.id, &node], id.to_string());
            match self.options.publish {
                Publish::Together => drop(client.execute(&upsert, &binding).await?),
                Publish::Separately => both(client, (&upsert, &binding), (&notify, &[&payload])).await?,
            }
            self.bindings.finish([id], Vec::new());
        }
    }

    async fn tunnel(&self, client: &Client) -> Result<()> {
        let (open, notify) = (client.prepare(OPEN_TUNNEL).await?, "SELECT pg_notify('replicas_tunnel_update', $1)");
        let notify = client.prepare(notify).await?;
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
        let version = version(node).context("a node is none that was announced")?;
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
    match queue.take(1, Duration::ZERO).await.pop() {
        Some(entry) => Ok(entry),
        None => bail!("a queue gave nothing"),
    }
}

/// The next keys of a queue.
async fn some<T>(queue: &Batcher<Uuid, Newest<T>>) -> Vec<Uuid> {
    queue.take(BATCH, Duration::ZERO).await.into_iter().map(|(id, _)| id).collect()
}
