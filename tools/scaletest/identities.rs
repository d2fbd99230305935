//! Who takes part: a network of its own, made for the run and removed after it, as far as the user may.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tailnet_tools::{cluster, identity::TestIdentity};
use tailnet_wire::Role;
use tokio::time::sleep;
use tokio_postgres::{Client, Config, Row};
use uuid::Uuid;

use crate::network::Network;

/// Rows of one statement that makes identities or grants. It takes no lock that others wait for.
const MADE_AT_ONCE: usize = 5000;

/// Peers that one transaction revokes: it holds the order of its network, and of those that share its lock.
const REVOKED_AT_ONCE: usize = 200;

/// Proxies may still write when agents were connected, in key order: who locks in another order waits for them crosswise.
const LOCK_IDENTITIES: &str = "
    SELECT FROM tailnet_private.identities i JOIN tailnet_private.networks n ON n.id = i.network_id WHERE n.name = $1
    ORDER BY i.id FOR UPDATE OF i";
const LOCK_CONNECTIONS: &str = "
    SELECT FROM tailnet_private.agent_connections c JOIN tailnet_private.identities i ON i.id = c.agent_id
    JOIN tailnet_private.networks n ON n.id = i.network_id WHERE n.name = $1
    ORDER BY c.agent_id FOR UPDATE OF c";
const DELETE_IDENTITIES: &str = "
    DELETE FROM tailnet_private.identities i USING tailnet_private.networks n WHERE n.id = i.network_id AND n.name = $1";
const DELETE_NETWORK: &str = "DELETE FROM tailnet_private.networks WHERE name = $1";

/// The network of a run.
#[derive(Debug)]
pub struct Identities {
    config: Config,
    network: Network,
}

/// Whether the user of this session is one.
///
/// # Errors
/// When Postgres does not answer.
pub async fn is_superuser(sql: &Client) -> Result<bool> {
    Ok(sql.query_one("SELECT current_setting('is_superuser')::boolean", &[]).await?.get(0))
}

/// Everyone, in order.
#[derive(Debug)]
pub struct Made {
    /// An agent and a client that may open a tunnel to it.
    pub pairs: Vec<[TestIdentity; 2]>,
    pub hub: Option<TestIdentity>,
}

impl Identities {
    /// Of a network that is not there yet.
    pub fn new(mut config: Config, network: Network) -> Self {
        config.application_name(network.application_name());
        Self { config, network }
    }

    /// The name of the network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// How to reach the database.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Connects to the database.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn connect(&self) -> Result<Client> {
        cluster::connect(&self.config).await
    }

    /// Makes everyone: all or nobody.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn make(&self, pairs: usize, hub: bool) -> Result<Made> {
        let mut sql = self.connect().await?;
        let made = sql.transaction().await?;
        made.execute("SELECT tailnet.create_network($1)", &[&self.network.as_str()])
            .await
            .context("cannot make a network")?;
        let mut wanted = Vec::with_capacity(2 * pairs + 1);
        for number in 0..pairs {
            wanted.extend([Role::Agent, Role::Client].map(|role| (role, format!("scaletest-{role}-{number}"))));
        }
        wanted.extend(hub.then(|| (Role::Hub, "scaletest-hub".to_owned())));
        let create = made
            .prepare(
                "SELECT p.peer_id, p.token
                 FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS wanted(role, name, place)
                 CROSS JOIN LATERAL tailnet.create_peer($1::text, wanted.role, wanted.name) p
                 ORDER BY wanted.place",
            )
            .await?;
        let mut identities = Vec::with_capacity(wanted.len());
        for some in wanted.chunks(MADE_AT_ONCE) {
            let (roles, names): (Vec<&str>, Vec<&str>) =
                some.iter().map(|(role, name)| (role.as_str(), name.as_str())).unzip();
            let rows =
                made.query(&create, &[&self.network.as_str(), &roles, &names]).await.context("cannot make peers")?;
            let identity = |((role, name), row): (&(Role, String), &Row)| {
                TestIdentity::new(row.get(0), *role, row.get(1), name.clone())
            };
            identities.extend(some.iter().zip(&rows).map(identity));
        }
        ensure!(identities.len() == wanted.len(), "asked for {} peers, got {}", wanted.len(), identities.len());
        let hub = if hub { identities.pop() } else { None };
        let mut all = identities.into_iter();
        let pairs: Vec<[TestIdentity; 2]> = std::iter::from_fn(|| Some([all.next()?, all.next()?])).collect();
        for some in pairs.chunks(MADE_AT_ONCE) {
            let (agents, clients): (Vec<Uuid>, Vec<Uuid>) =
                some.iter().map(|[agent, client]| (agent.id, client.id)).unzip();
            let grant = "SELECT count(tailnet.grant_tunnel(client, agent)) FROM unnest($1::uuid[], $2::uuid[]) g(client, agent)";
            made.execute(grant, &[&clients, &agents]).await.context("cannot grant tunnels")?;
        }
        made.commit().await.context("cannot make peers")?;
        Ok(Made { pairs, hub })
    }

    /// The names of all registered coordinators, sorted.
    ///
    /// # Errors
    /// When the user may not read them.
    pub async fn coordinators(&self) -> Result<Vec<String>> {
        let rows = self.connect().await?.query("SELECT name FROM tailnet.coordinators ORDER BY name", &[]).await;
        let rows = rows.context("cannot read tailnet.coordinators: the user must be in the role tailnet_reader")?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// The coordinators that hold the sessions of this network, by peer.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn sessions(&self) -> Result<HashMap<Uuid, String>> {
        let sql = "SELECT peer_id, coordinator FROM tailnet.peers WHERE network = $1 AND coordinator IS NOT NULL";
        let rows =
            self.connect().await?.query(sql, &[&self.network.as_str()]).await.context("cannot read tailnet.peers")?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    /// Removes everyone, or revokes them where that is all that the user may.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn remove(&self) -> Result<()> {
        let mut sql = self.connect().await?;
        let is_superuser = is_superuser(&sql).await?;
        // A peer whose goodbye was committed has no row, and its identity may go as it is. When the others are revoked, the
        // proxies end their sessions and remove their rows. Where no proxy lives, the next one does.
        let present =
            "SELECT i.peer_id FROM tailnet.identities i JOIN tailnet.peers p USING (peer_id) WHERE i.network = $1";
        let good = "SELECT i.peer_id FROM tailnet.identities i WHERE i.network = $1 AND i.revoked_at IS NULL";
        let proxies = "SELECT EXISTS (SELECT FROM tailnet.coordinators WHERE heartbeat_at > now() - '6 s'::interval)";
        let mut revoked = HashSet::new();
        loop {
            let rows = sql.query(if is_superuser { present } else { good }, &[&self.network.as_str()]).await?;
            let ids: Vec<Uuid> = rows.iter().map(|row| row.get(0)).filter(|id| revoked.insert(*id)).collect();
            if ids.is_empty() && (rows.is_empty() || !is_superuser) {
                break;
            }
            for some in ids.chunks(REVOKED_AT_ONCE) {
                sql.execute("SELECT count(tailnet.revoke_peer(id)) FROM unnest($1::uuid[]) q(id)", &[&some]).await?;
            }
            if ids.is_empty() {
                if !sql.query_one(proxies, &[]).await?.get::<_, bool>(0) {
                    break;
                }
                sleep(Duration::from_millis(100)).await;
            }
        }
        if is_superuser {
            let gone = sql.transaction().await?;
            for statement in [LOCK_IDENTITIES, LOCK_CONNECTIONS, DELETE_IDENTITIES, DELETE_NETWORK] {
                gone.execute(statement, &[&self.network.as_str()]).await?;
            }
            gone.commit().await?;
        }
        Ok(())
    }
}
