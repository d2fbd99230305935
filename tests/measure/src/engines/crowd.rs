//! A database with many peers, made in bulk: pairs of a client and an agent with a tunnel, in the real tables with their
//! indexes. Agents are on one coordinator, which is ours, their clients on another.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use anyhow::{Context, Result, ensure};
use tailnet_harness::{database::Database, deadline::until};
use tailnet_proxy::postgres::{database::Database as Url, listener::Listener, store::Store};
use tokio::task::JoinSet;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::common::node::LARGE;

/// The coordinators: that of the agents, that of their clients, and one that holds no peer, unless it is the hub.
const COORDINATORS: [&str; 3] = ["near", "far", "third"];

/// Ids of the pair with a number.
const FUNCTIONS: &str = "
    CREATE FUNCTION client(pair bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT md5('client ' || pair)::uuid $$;
    CREATE FUNCTION agent(pair bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT md5('agent ' || pair)::uuid $$";

/// The peers of pairs $1 to $2 of network $3.
const IDENTITIES: &str = "
    INSERT INTO tailnet_private.identities (id, network_id, role, token_sha256, session)
    SELECT p.id, $3, p.role, sha256(uuid_send(p.id)), 1
    FROM generate_series($1::bigint, $2) i, LATERAL (VALUES (client(i), 'client'), (agent(i), 'agent')) p(id, role)";

/// Of network $6: agents on coordinator $4, clients on $5; all with a node that is no version of ours.
const PEERS: &str = "
    INSERT INTO tailnet_private.peers (id, network_id, role, coordinator_id, session, status, digest, node, updated_at)
    SELECT p.id, $6, p.role, p.coordinator_id, 1, 'ok', i, $3::text::json, clock_timestamp()
    FROM generate_series($1::bigint, $2) i,
         LATERAL (VALUES (client(i), 'client', $5::uuid), (agent(i), 'agent', $4::uuid)) p(id, role, coordinator_id)";

const TUNNELS: &str = "
    INSERT INTO tailnet_private.tunnels (src, dst) SELECT client(i), agent(i) FROM generate_series($1::bigint, $2) i";

/// Hub $1 of network $2.
const HUB_IDENTITY: &str = "
    INSERT INTO tailnet_private.identities (id, network_id, role, token_sha256, session)
    VALUES ($1, $2, 'hub', sha256(uuid_send($1)), 1)";

const HUB_PEER: &str = "
    INSERT INTO tailnet_private.peers (id, network_id, role, coordinator_id, session, status, digest, node, updated_at)
    VALUES ($1, $4, 'hub', $2, 1, 'ok', 0, $3::text::json, now())";

const HUB_TUNNELS: &str = "
    INSERT INTO tailnet_private.tunnels (src, dst) SELECT $1, agent(i) FROM generate_series(1, $2::bigint) i";

const MOVE_HUB: &str = "
    UPDATE tailnet_private.peers p SET coordinator_id = c.id
    FROM tailnet_private.coordinators c, tailnet_private.identities i
    WHERE c.name = $1 AND i.role = 'hub' AND p.id = i.id";

#[derive(Debug)]
pub struct Crowd {
    /// It has a login for a proxy.
    pub database: Database,
    /// A superuser's session.
    pub sql: Client,
    /// The registration of the coordinator of the agents.
    pub registration: Uuid,
    /// Pairs that it has.
    pub pairs: usize,
    network: Uuid,
    near: Uuid,
    far: Uuid,
    /// Payloads that each coordinator has heard.
    payloads: [Arc<AtomicU64>; 3],
    /// They read the logs of all coordinators: Postgres must have someone to notify.
    _listeners: JoinSet<()>,
}

impl Crowd {
    /// Makes it, without a peer.
    pub async fn create() -> Result<Self> {
        let database = Database::create(1).await?;
        let sql = database.connect().await?;
        sql.batch_execute(FUNCTIONS).await?;
        let network = sql.query_one("SELECT tailnet.create_network('crowd')", &[]).await?.get(0);
        let url: Url = database.url(&database.logins()[0])?.parse()?;
        let mut store = Store::connect(&url, "control").await?;
        let (ids, payloads): ([Uuid; 3], [Arc<AtomicU64>; 3]) = ([(); 3].map(|()| Uuid::new_v4()), Default::default());
        let (mut listeners, mut registrations) = (JoinSet::new(), Vec::new());
        for ((name, id), payloads) in COORDINATORS.iter().zip(ids).zip(payloads.clone()) {
            let registration = store.register_coordinator(id, name).await?;
            let mut listener = Listener::listen(&url, registration).await?;
            listeners.spawn(async move {
                while listener.payloads.recv().await.is_some() {
                    payloads.fetch_add(1, Ordering::Relaxed);
                }
            });
            registrations.push(registration);
        }
        let (registration, [near, far, _]) = (registrations[0], ids);
        Ok(Self { database, sql, registration, pairs: 0, network, near, far, payloads, _listeners: listeners })
    }

    pub async fn grow(&mut self, pairs: usize) -> Result<()> {
        let (from, to) = (i64::try_from(self.pairs + 1)?, i64::try_from(pairs)?);
        let node = LARGE.text(Uuid::nil(), 0);
        let connect = async || {
            let client = self.database.connect().await?;
            // Foreign keys are right as it is.
            client.batch_execute("SET session_replication_role = replica; SET synchronous_commit = off").await?;
            anyhow::Ok(client)
        };
        let (one, two, three) = (connect().await?, connect().await?, connect().await?);
        tokio::try_join!(
            async { one.execute(IDENTITIES, &[&from, &to, &self.network]).await },
            async { two.execute(PEERS, &[&from, &to, &node, &self.near, &self.far, &self.network]).await },
            async { three.execute(TUNNELS, &[&from, &to]).await },
        )
        .context("cannot make peers")?;
        self.pairs = pairs;
        self.settle().await
    }

    /// What autovacuum and the checkpointer would do some time later.
    pub async fn settle(&self) -> Result<()> {
        self.sql.batch_execute("VACUUM (ANALYZE)").await?;
        self.sql.batch_execute("CHECKPOINT").await?;
        Ok(())
    }

    /// The agents of these pairs, numbered from 1.
    pub async fn agents(&self, pairs: &[i64]) -> Result<Vec<Uuid>> {
        let rows = self.sql.query("SELECT agent(i) FROM unnest($1::bigint[]) i", &[&pairs]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Checks that all was told to those with an interest, and to no other, and removes the database.
    pub async fn end(self) -> Result<()> {
        let heard = |coordinator: usize| self.payloads[coordinator].load(Ordering::Relaxed);
        until("the clients' coordinator hears of the updates", async || Ok(heard(1) > 0)).await?;
        ensure!(heard(0) == 0, "a coordinator without interest has heard {} payloads", heard(0));
        self.database.drop().await
    }

    /// A hub with a tunnel to each agent, on the coordinator of the clients.
    pub async fn add_hub(&self) -> Result<()> {
        let (hub, all) = (Uuid::new_v4(), i64::try_from(self.pairs)?);
        let node = LARGE.text(hub, 0);
        self.sql.execute(HUB_IDENTITY, &[&hub, &self.network]).await?;
        self.sql.execute(HUB_PEER, &[&hub, &self.far, &node, &self.network]).await?;
        self.sql.execute(HUB_TUNNELS, &[&hub, &all]).await?;
        self.settle().await
    }

    /// Moves the hub to the coordinator with this name.
    /// Fails when there is no hub, or no such coordinator.
    pub async fn move_hub(&self, coordinator: &str) -> Result<()> {
        let moved = self.sql.execute(MOVE_HUB, &[&coordinator]).await?;
        ensure!(moved == 1, "there is no hub to move, or no coordinator {coordinator}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::caller::Caller;

    #[tokio::test(flavor = "multi_thread")]
    async fn updates_in_a_crowd_are_told_to_clients_and_to_the_hub() {
        let mut crowd = Crowd::create().await.expect("there is a cluster");
        crowd.grow(10).await.expect("it grows");
        crowd.grow(30).await.expect("it grows further");
        let mut caller = Caller::connect(&crowd).await.expect("it calls");
        let last = crowd.agents(&[30]).await.expect("there are agents");
        caller.update(&last).await.expect("all of them are bound");
        crowd.add_hub().await.expect("there is room for a hub");
        crowd.move_hub("third").await.expect("there is a third");
        caller.update(&last).await.expect("all of them are bound");
        let hub_hears = async || Ok(crowd.payloads[2].load(Ordering::Relaxed) > 0);
        until("the coordinator of the hub hears of the update", hub_hears).await.expect("it hears");
        crowd.end().await.expect("clients hear, and nobody without interest");
    }
}
