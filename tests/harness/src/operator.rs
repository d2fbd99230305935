//! What an operator does, with SQL.

use anyhow::{Context, Result};
use serde_json::Value;
use tailnet_tools::identity::TestIdentity;
use tailnet_wire::Role;
use tokio_postgres::Client;
use uuid::Uuid;

use super::deadline::until;

/// A superuser's session in the database of the test.
#[derive(Debug)]
pub struct Operator {
    /// For what only one test needs.
    pub sql: Client,
}

impl Operator {
    /// Makes a network.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn create_network(&self, name: &str) -> Result<Uuid> {
        let row = self.sql.query_one("SELECT tailnet.create_network($1)", &[&name]).await?;
        Ok(row.get(0))
    }

    /// Makes a peer in a network. Its name is its role, and for people only.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn create_peer(&self, network: &str, role: Role) -> Result<TestIdentity> {
        let sql = "SELECT peer_id, token FROM tailnet.create_peer($1, $2, name => $2)";
        let row = self.sql.query_one(sql, &[&network, &role.as_str()]).await.context("cannot create a peer")?;
        Ok(TestIdentity { id: row.get(0), role, token: row.get(1), name: format!("{role} of {network}") })
    }

    /// Allows a client to open tunnels to an agent.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn grant_tunnel(&self, client: Uuid, agent: Uuid) -> Result<()> {
        self.sql.execute("SELECT tailnet.grant_tunnel($1, $2)", &[&client, &agent]).await?;
        Ok(())
    }

    /// Takes that back.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn revoke_tunnel(&self, client: Uuid, agent: Uuid) -> Result<()> {
        self.sql.execute("SELECT tailnet.revoke_tunnel($1, $2)", &[&client, &agent]).await?;
        Ok(())
    }

    /// Revokes an identity.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn revoke_peer(&self, peer: Uuid) -> Result<()> {
        self.sql.execute("SELECT tailnet.revoke_peer($1)", &[&peer]).await?;
        Ok(())
    }

    /// Lets all clients of a network reach all its agents.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn let_clients_reach_all_agents(&self, network: &str) -> Result<()> {
        let sql = "UPDATE tailnet_private.networks SET clients_reach_all_agents = true WHERE name = $1";
        self.sql.execute(sql, &[&network]).await?;
        Ok(())
    }

    /// Status and node of a peer; None: it has no binding.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn binding(&self, peer: Uuid) -> Result<Option<(String, Value)>> {
        let sql = "SELECT status, node FROM tailnet.peers WHERE peer_id = $1 AND status IS NOT NULL";
        Ok(self.sql.query_opt(sql, &[&peer]).await?.map(|row| (row.get(0), row.get(1))))
    }

    /// The name of the proxy that holds the live session of a peer; None: there is no such session.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn coordinator(&self, peer: Uuid) -> Result<Option<String>> {
        let sql = "SELECT coordinator FROM tailnet.peers WHERE peer_id = $1";
        Ok(self.sql.query_opt(sql, &[&peer]).await?.and_then(|row| row.get(0)))
    }

    /// Whether a tunnel is open.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn has_tunnel(&self, src: Uuid, dst: Uuid) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT FROM tailnet.tunnels WHERE src_id = $1 AND dst_id = $2)";
        Ok(self.sql.query_one(sql, &[&src, &dst]).await?.get(0))
    }

    /// Waits until this node of a peer is committed.
    ///
    /// # Errors
    /// When it does not happen.
    pub async fn until_bound(&self, peer: Uuid, node: &Value) -> Result<()> {
        until(&format!("peer {peer} is bound to version {}", node["id"]), async || {
            Ok(self.binding(peer).await?.is_some_and(|(status, stored)| status == "ok" && stored == *node))
        })
        .await
    }

    /// Waits until a peer has no live session.
    ///
    /// # Errors
    /// When it does not happen.
    pub async fn until_gone(&self, peer: Uuid) -> Result<()> {
        until(&format!("peer {peer} has no live session"), async || Ok(self.coordinator(peer).await?.is_none())).await
    }

    /// Waits until every proxy was told that what is absent from the tables is absent.
    ///
    /// # Errors
    /// When it does not happen.
    pub async fn until_settled(&self) -> Result<()> {
        let sql = "SELECT bool_and(settled) FROM tailnet_private.coordinators";
        until("all proxies are settled", async || Ok(self.sql.query_one(sql, &[]).await?.get(0))).await
    }

    /// Waits until no proxy of this name is registered.
    ///
    /// # Errors
    /// When it does not happen.
    pub async fn until_expired(&self, proxy: &str) -> Result<()> {
        let sql = "SELECT EXISTS (SELECT FROM tailnet.coordinators WHERE name = $1)";
        let expired = async || Ok(!self.sql.query_one(sql, &[&proxy]).await?.get::<_, bool>(0));
        until(&format!("proxy {proxy} is not registered"), expired).await
    }

    /// Ends the connections to Postgres of a proxy that serve one purpose, or all of them (`%`). Returns their number.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn end_connections(&self, proxy: &str, purpose: &str) -> Result<i64> {
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                   WHERE application_name LIKE $1 AND datname = current_database()";
        Ok(self.sql.query_one(sql, &[&format!("tailnet-proxy/{proxy}/{purpose}")]).await?.get(0))
    }

    /// Waits until a tunnel is open, or is not.
    ///
    /// # Errors
    /// When it does not happen.
    pub async fn until_tunnel(&self, src: Uuid, dst: Uuid, open: bool) -> Result<()> {
        let what = format!("the tunnel from {src} to {dst} is {}", if open { "open" } else { "closed" });
        until(&what, async || Ok(self.has_tunnel(src, dst).await? == open)).await
    }
}
