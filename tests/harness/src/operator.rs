//! What an operator does, with SQL.

use anyhow::{Context, Result};
use serde_json::Value;
use tailnet_tools::{identity::TestIdentity, websocket::Protocol};
use tailnet_wire::Role;
use tokio_postgres::{
    Client,
    types::{FromSqlOwned, ToSql},
};
use uuid::Uuid;

use crate::deadline::until;

/// Makes the function `prove(peer, session)`: the proof that the extension would give to a peer of the network `home`.
pub const PROVE: &str = "
    SELECT tailnet.rotate_secret();
    CREATE FUNCTION prove(peer uuid, session bigint) RETURNS text LANGUAGE sql AS $$
        SELECT tailnet_private.prove_session(
            s.secret, s.number, n.id, peer, '00000000-0000-0000-0000-000000000000', 0, session)
        FROM tailnet_private.networks n,
             LATERAL (SELECT number, secret FROM tailnet_private.secrets ORDER BY number DESC LIMIT 1) s
        WHERE n.name = 'home'
    $$";

/// A shared key, with the token that was shown once.
#[derive(Debug, Clone)]
pub struct TestKey {
    pub id: Uuid,
    pub role: Role,
    pub token: String,
}

/// A superuser's session in the database of the test.
#[derive(Debug)]
pub struct Operator {
    /// For statements that only one test needs.
    pub sql: Client,
    /// What the peers that it makes speak.
    pub peers: Peers,
}

/// What the peers of a test speak.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Peers {
    /// All `tailnet.v1.json`.
    #[default]
    V1,
    /// All tailnet v2.
    V2,
    /// Agents tailnet v2, and the others `tailnet.v1.json`.
    Mixed,
}

impl Operator {
    /// The first column of the only row that a query finds.
    pub async fn value<T: FromSqlOwned>(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<T> {
        Ok(self.sql.query_one(sql, parameters).await.with_context(|| format!("{sql} failed"))?.try_get(0)?)
    }

    /// The first column of the row that a query finds; None: there is no row, or NULL in it.
    pub async fn option<T: FromSqlOwned>(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Option<T>> {
        let row = self.sql.query_opt(sql, parameters).await.with_context(|| format!("{sql} failed"))?;
        Ok(row.map(|row| row.try_get(0)).transpose()?.flatten())
    }

    /// Waits until a query finds true; `what` says what that means.
    pub async fn until(&self, what: &str, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<()> {
        until(what, async || self.value(sql, parameters).await).await
    }

    pub async fn create_network(&self, name: &str) -> Result<Uuid> {
        self.value("SELECT tailnet.create_network($1)", &[&name]).await
    }

    /// Makes a peer in a network. Its name is its role, and for people only.
    pub async fn create_peer(&self, network: &str, role: Role) -> Result<TestIdentity> {
        let sql = "SELECT peer_id, token FROM tailnet.create_peer($1, $2, name => $2)";
        let row = self.sql.query_one(sql, &[&network, &role.as_str()]).await.context("cannot create a peer")?;
        let identity = TestIdentity::new(row.get(0), role, row.get(1), format!("{role} of {network}"));
        Ok(match (self.peers, role) {
            (Peers::V1, _) => identity,
            (Peers::Mixed, Role::Client | Role::Hub) => TestIdentity { plain: true, ..identity },
            (Peers::Mixed, Role::Agent) | (Peers::V2, _) => {
                TestIdentity { protocol: Protocol::V2, plain: true, ..identity }
            }
        })
    }

    /// Makes a shared key in a network; `more` is more named arguments, such as `, max_peers => 2`.
    pub async fn create_key(&self, network: &str, role: Role, more: &str) -> Result<TestKey> {
        let sql = format!("SELECT key_id, token FROM tailnet.create_key($1, $2, kind => 'shared'{more})");
        let row = self.sql.query_one(&sql, &[&network, &role.as_str()]).await.context("cannot create a key")?;
        Ok(TestKey { id: row.get(0), role, token: row.get(1) })
    }

    pub async fn grant_tunnel(&self, client: Uuid, agent: Uuid) -> Result<()> {
        self.value::<bool>("SELECT tailnet.grant_tunnel($1, $2)", &[&client, &agent]).await.map(drop)
    }

    pub async fn revoke_tunnel(&self, client: Uuid, agent: Uuid) -> Result<()> {
        self.value::<bool>("SELECT tailnet.revoke_tunnel($1, $2)", &[&client, &agent]).await.map(drop)
    }

    pub async fn revoke_peer(&self, peer: Uuid) -> Result<()> {
        self.value::<bool>("SELECT tailnet.revoke_peer($1)", &[&peer]).await.map(drop)
    }

    pub async fn let_clients_reach_all_agents(&self, network: &str) -> Result<()> {
        let sql = "UPDATE tailnet_private.networks SET clients_reach_all_agents = true WHERE name = $1";
        self.sql.execute(sql, &[&network]).await?;
        Ok(())
    }

    /// Status and node of a peer; None: it has no binding.
    pub async fn binding(&self, peer: Uuid) -> Result<Option<(String, Value)>> {
        let sql = "SELECT status, node FROM tailnet.peers WHERE peer_id = $1 AND status IS NOT NULL";
        Ok(self.sql.query_opt(sql, &[&peer]).await?.map(|row| (row.get(0), row.get(1))))
    }

    /// The name of the proxy that holds the live session of a peer; None: there is no such session.
    pub async fn coordinator(&self, peer: Uuid) -> Result<Option<String>> {
        self.option("SELECT coordinator FROM tailnet.peers WHERE peer_id = $1", &[&peer]).await
    }

    pub async fn has_tunnel(&self, src: Uuid, dst: Uuid) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT FROM tailnet.tunnels WHERE src_id = $1 AND dst_id = $2)";
        self.value(sql, &[&src, &dst]).await
    }

    /// Waits until this node of a peer is committed.
    pub async fn until_bound(&self, peer: Uuid, node: &Value) -> Result<()> {
        until(&format!("peer {peer} is bound to version {}", node["id"]), async || {
            Ok(self.binding(peer).await?.is_some_and(|(status, stored)| status == "ok" && stored == *node))
        })
        .await
    }

    pub async fn until_gone(&self, peer: Uuid) -> Result<()> {
        until(&format!("peer {peer} has no live session"), async || Ok(self.coordinator(peer).await?.is_none())).await
    }

    pub async fn until_tunnel(&self, src: Uuid, dst: Uuid, open: bool) -> Result<()> {
        let what = format!("the tunnel from {src} to {dst} is {}", if open { "open" } else { "closed" });
        until(&what, async || Ok(self.has_tunnel(src, dst).await? == open)).await
    }

    /// Waits until Postgres has told every proxy that peers which are absent from the tables are gone.
    pub async fn until_settled(&self) -> Result<()> {
        self.until("all proxies are settled", "SELECT bool_and(settled) FROM tailnet_private.coordinators", &[]).await
    }

    pub async fn until_expired(&self, proxy: &str) -> Result<()> {
        let sql = "SELECT NOT EXISTS (SELECT FROM tailnet.coordinators WHERE name = $1)";
        self.until(&format!("proxy {proxy} is not registered"), sql, &[&proxy]).await
    }

    pub async fn until_registered(&self, proxies: i64) -> Result<()> {
        let sql = "SELECT count(*) = $1 FROM tailnet.coordinators";
        self.until(&format!("{proxies} proxies are registered"), sql, &[&proxies]).await
    }

    /// Ends the connections to Postgres of a proxy that serve one purpose, or all of them (`%`). Returns their number.
    pub async fn end_connections(&self, proxy: &str, purpose: &str) -> Result<i64> {
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                   WHERE application_name LIKE $1 AND datname = current_database()";
        self.value(sql, &[&format!("tailnet-proxy/{proxy}/{purpose}")]).await
    }

    pub async fn set(&self, settings: &[&str]) -> Result<()> {
        for setting in settings {
            self.sql.batch_execute(&format!("ALTER SYSTEM SET {setting}")).await?;
        }
        self.value::<bool>("SELECT pg_reload_conf()", &[]).await.map(drop)
    }
}
