//! The prior design: the coordinator is part of an application server, of which there are several replicas.
//!
//! After the coordinator of Coder as of 2026 (`enterprise/tailnet/pgcoord.go`), with all that makes it fast there: unlogged
//! tables, its indexes, ten workers a role, a queue that takes each key once, lookups in batches of up to 50, none for
//! peers that the replica does not hold. A change is one upsert and one notification on a channel that all replicas
//! hear; each of them looks up whose partners it holds, and for those, all their partners' nodes.
//!
//! It is spared what it would do besides: protobuf, heartbeats and their filter, reading all again every 30 s, authorising
//! its queries, and validating nodes.

use std::{
    future::poll_fn,
    sync::{Arc, atomic::Ordering},
};

use anyhow::{Context, Result};
use tailnet_harness::database::Database;
use tailnet_proxy::postgres::database::Database as Url;
use tokio::task::JoinSet;
use tokio_postgres::{AsyncMessage, Client};

use crate::{
    common::node::LARGE,
    engines::{
        engine::{Engine, Facts, Mouth},
        pairs::{COORDINATORS, Pairs, coordinator},
        prior_sql::{KINDS, LISTEN, SETTINGS, TABLES},
        replica::{Options, Replica, Role},
    },
};

/// Workers of each role.
const WORKERS: usize = 10;

/// Half of the queriers look for partners, and half for nodes.
const QUERIERS: usize = WORKERS / 2;

/// Four replicas on one database.
#[derive(Debug)]
pub struct Replicas {
    pairs: Arc<Pairs>,
    replicas: Vec<Arc<Replica>>,
    /// Ended when they are dropped.
    _tasks: JoinSet<()>,
}

impl Replicas {
    /// Makes a database, opens the tunnels of these pairs, and waits until that is written.
    pub async fn start(pairs: Arc<Pairs>, options: Options, mouth: &Mouth) -> Result<(Self, Facts)> {
        let database = Database::create(COORDINATORS).await?;
        let sql = database.connect().await?;
        sql.batch_execute(TABLES).await.context("cannot make the tables of the replicas")?;
        let (mut replicas, mut tasks, mut connections) = (Vec::new(), JoinSet::new(), 0);
        for place in 0..COORDINATORS {
            let url: Url = database.url(&database.logins()[place])?.parse()?;
            let replica = Arc::new(Replica::new(Arc::clone(&pairs), place, options.publish));
            connections += start(&replica, &url, options.connections, mouth, &mut tasks).await?;
            replicas.push(replica);
        }
        for (client, agent) in pairs.ends() {
            let place = pairs.place(client).context("a pair has a client")?;
            replicas[coordinator(place)].open_tunnel(client, agent);
        }
        for replica in &replicas {
            replica.tunnels_written().await;
        }
        let (ids, listeners) = (pairs.ids().to_vec(), replicas.len());
        let facts = Facts { database, table: "replicas.peers", kinds: KINDS, ids, listeners, connections };
        Ok((Self { pairs, replicas, _tasks: tasks }, facts))
    }
}

/// Starts the workers of a replica, and returns how many connections they have.
async fn start(
    replica: &Arc<Replica>,
    url: &Url,
    connections: usize,
    mouth: &Mouth,
    tasks: &mut JoinSet<()>,
) -> Result<usize> {
    let mut opened = 1;
    listen(replica, url, mouth, tasks).await?;
    for (role, workers) in
        [(Role::Binder, WORKERS), (Role::Tunneler, WORKERS), (Role::Partners, QUERIERS), (Role::Nodes, QUERIERS)]
    {
        let mut clients = Vec::new();
        for _ in 0..workers.min(connections) {
            clients.push(Arc::new(connect(url, tasks).await?));
        }
        opened += clients.len();
        for client in clients.iter().cycle().take(workers) {
            let (replica, client, mouth) = (Arc::clone(replica), Arc::clone(client), mouth.clone());
            tasks.spawn(async move {
                let Err(error) = replica.work(role, &client, &mouth).await else { return };
                // Nobody listens when the run is over.
                let _ = mouth.send(Err(error));
            });
        }
    }
    Ok(opened)
}

async fn connect(url: &Url, tasks: &mut JoinSet<()>) -> Result<Client> {
    let (client, connection) = url.connect("replica").await.context("cannot connect")?;
    tasks.spawn(async move {
        // Each caller of the client gets the error.
        let _ = connection.await;
    });
    client.batch_execute(SETTINGS).await?;
    Ok(client)
}

async fn listen(replica: &Arc<Replica>, url: &Url, mouth: &Mouth, tasks: &mut JoinSet<()>) -> Result<()> {
    let (client, mut connection) = url.connect("listener").await.context("cannot connect")?;
    let (replica, mouth) = (Arc::clone(replica), mouth.clone());
    tasks.spawn(async move {
        loop {
            let heard = match poll_fn(|cx| connection.poll_message(cx)).await {
                Some(Ok(AsyncMessage::Notification(notification))) => replica.heard(notification.payload()),
                Some(Ok(_)) => Ok(()),
                Some(Err(error)) => Err(error.into()),
                None => return,
            };
            if let Err(error) = heard {
                // Nobody listens when the run is over.
                let _ = mouth.send(Err(error));
                return;
            }
        }
    });
    client.batch_execute(LISTEN).await?;
    // The connection ends with its client.
    tasks.spawn(async move {
        std::future::pending::<()>().await;
        drop(client);
    });
    Ok(())
}

impl Engine for Replicas {
    fn announce(&self, place: usize, version: u64) {
        let id = self.pairs.id(place);
        self.replicas[coordinator(place)].announce(id, LARGE.text(id, version));
    }

    fn payloads(&self) -> Vec<u64> {
        self.replicas.iter().map(|replica| replica.payloads.load(Ordering::Relaxed)).collect()
    }
}
