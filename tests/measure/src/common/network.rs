//! A network with many peers, made by one statement.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tokio_postgres::Client;
use uuid::Uuid;

/// A peer that may connect.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Credentials {
    pub id: Uuid,
    /// What it shows to the proxy.
    pub token: String,
}

/// `tailnet.create_peer` and `tailnet.grant_tunnel` in one statement: this many calls would take half a minute.
const CREATE: &str = "
    WITH made AS MATERIALIZED (
        SELECT n, role, gen_random_uuid() AS id,
               'tnp_' || replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '') AS token
        FROM generate_series(1, $2::integer) n, unnest($3::text[]) role),
    kept AS (
        INSERT INTO tailnet_private.identities (id, network_id, role, name, token_sha256)
        SELECT id, $1, role, role || ' ' || n, sha256(convert_to(token, 'UTF8')) FROM made),
    granted AS (
        INSERT INTO tailnet_private.grants (client_id, agent_id)
        SELECT c.id, a.id FROM made c JOIN made a USING (n) WHERE c.role = 'client' AND a.role = 'agent')
    SELECT id, token FROM made ORDER BY n, role";

/// Makes a network, and in it so many times one peer of each of these roles. Returns its id, and the peers in this order;
/// a client may open a tunnel to the agent that was made with it.
pub async fn create(sql: &Client, name: &str, count: usize, roles: &[&str]) -> Result<(Uuid, Vec<Credentials>)> {
    let network: Uuid = sql.query_one("SELECT tailnet.create_network($1)", &[&name]).await?.get(0);
    let count = i32::try_from(count).context("too many peers")?;
    let rows = sql.query(CREATE, &[&network, &count, &roles]).await.context("cannot create peers")?;
    Ok((network, rows.iter().map(|row| Credentials { id: row.get(0), token: row.get(1) }).collect()))
}
