//! The prior design: the coordinator is part of an application server, of which there are several replicas.
//!
//! After the coordinator of Coder as of 2026 (`enterprise/tailnet/pgcoord.go`), with all that makes it fast there: unlogged
//! tables, its indexes, ten workers a role, a queue that takes each key once, lookups in batches of up to 50, none for
//! peers that the replica does not hold. A change is one upsert and one notification on a channel that all replicas
//! hear; each of them looks up whose partners it holds, and for those, all their partners' nodes.
//!
//! It is spared what it would do besides: protobuf, heartbeats and their filter, reading all again every 30 s, authorising
//! its queries, and validating nodes.

use std::sync::{Arc, atomic::Ordering};

use anyhow::{Context, Result};
use tailnet_proxy::database::Database as Url;
use tailnet_tests::harness::database::Database;

use crate::{
    engine::{Engine, Mouth},
    node::node,
    pairs::{COORDINATORS, Pairs, coordinator},
    replica::{self, Replica},
};

/// As the prior design has them, in a schema of their own; pages keep room as those of the extension do.
const TABLES: &str = "
    CREATE SCHEMA replicas;
    CREATE UNLOGGED TABLE replicas.peers (
        id uuid NOT NULL,
        coordinator_id uuid NOT NULL,
        updated_at timestamptz NOT NULL,
        node json NOT NULL,
        status text NOT NULL,
        PRIMARY KEY (id, coordinator_id)
    ) WITH (fillfactor = 70);
    CREATE INDEX ON replicas.peers (coordinator_id);
    CREATE UNLOGGED TABLE replicas.tunnels (
        coordinator_id uuid NOT NULL,
        src_id uuid NOT NULL,
        dst_id uuid NOT NULL,
        updated_at timestamptz NOT NULL,
        PRIMARY KEY (coordinator_id, src_id, dst_id)
    );
    CREATE INDEX ON replicas.tunnels USING hash (src_id);
    CREATE INDEX ON replicas.tunnels USING hash (dst_id);
    GRANT USAGE ON SCHEMA replicas TO tailnet_proxy;
    GRANT ALL ON ALL TABLES IN SCHEMA replicas TO tailnet_proxy";

/// What a change costs.
const KINDS: &[(&str, &str)] = &[
    ("upsert", "INTO replicas.peers"),
    ("notify", "SELECT pg_notify"),
    ("partners of 50", "AS partner_of"),
    ("nodes of 50", "AS node_for"),
];

/// Four replicas on one database.
#[derive(Debug)]
pub struct Replicas {
    database: Database,
    pairs: Arc<Pairs>,
    replicas: Vec<Arc<Replica>>,
    connections: usize,
    /// Ended when they are dropped.
    _tasks: tokio::task::JoinSet<()>,
}

impl Replicas {
    /// Makes a database, opens the tunnels of these pairs, and waits until that is written.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn start(pairs: Arc<Pairs>, options: replica::Options, mouth: &Mouth) -> Result<Self> {
        let database = Database::create(COORDINATORS).await?;
        let sql = database.connect().await?;
        sql.batch_execute(TABLES).await.context("cannot make the tables of the replicas")?;
        let (mut replicas, mut tasks, mut connections) = (Vec::new(), tokio::task::JoinSet::new(), 0);
        for place in 0..COORDINATORS {
            let url: Url = database.url(&database.logins()[place])?.parse()?;
            let replica = Arc::new(Replica::new(Arc::clone(&pairs), place, options));
            connections += replica::start(&replica, &url, mouth, &mut tasks).await?;
            replicas.push(replica);
        }
        for (client, agent) in pairs.ends() {
            let place = pairs.place(client).context("a pair has a client")?;
            replicas[coordinator(place)].open_tunnel(client, agent);
        }
        for replica in &replicas {
            replica.tunnels_written().await;
        }
        Ok(Self { database, pairs, replicas, connections, _tasks: tasks })
    }
}

impl Engine for Replicas {
    fn database(&self) -> &Database {
        &self.database
    }

    fn kinds(&self) -> &'static [(&'static str, &'static str)] {
        KINDS
    }

    fn announce(&self, place: usize, version: u64) {
        let id = self.pairs.id(place);
        self.replicas[coordinator(place)].announce(id, node(id, version));
    }

    fn payloads(&self) -> Vec<u64> {
        self.replicas.iter().map(|replica| replica.payloads.load(Ordering::Relaxed)).collect()
    }

    fn connections(&self) -> usize {
        self.connections
    }
}
