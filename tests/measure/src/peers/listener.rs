//! The LISTEN connection of a proxy ends: it registers again, and restores all its peers.

use anyhow::{Result, ensure};
use serde::Serialize;
use tailnet_harness::deadline::until;

use crate::{
    common::statements::Count,
    peers::{clock::Moment, control::End, world::World},
};

#[derive(Debug, Serialize)]
pub struct Resync {
    /// Peers on that proxy.
    pub peers: usize,
    /// From the end of the connection until every view was right, with a new node of each partner announced meanwhile.
    pub seconds: f64,
    /// Statements of that proxy until then, and until all its sessions were restored.
    pub statements: Count,
}

/// Ends the connection of the agents' proxy, and lets all clients, on the other one, announce a node.
/// Fails when not every view becomes right.
pub async fn run(world: &mut World) -> Result<Resync> {
    let (name, role) = (world.proxies[0].name().to_owned(), world.proxies[0].role().to_owned());
    let registration = "SELECT registration::text, restored FROM tailnet_private.coordinators WHERE name = $1";
    let before: String = world.meter.sql.query_one(registration, &[&name]).await?.get(0);
    let statements = world.statements().await?;
    let begin = Moment::now();
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
               WHERE application_name = $1 AND datname = current_database()";
    let ended: i64 = world.meter.sql.query_one(end, &[&format!("tailnet-proxy/{name}/listener")]).await?.get(0);
    ensure!(ended == 1, "{name} has {ended} LISTEN connections, expected one");
    world.fleet.announce(&[End::Client]).await?;
    let right = world.fleet.until_right().await?;
    let sql = &world.meter.sql;
    until(&format!("{name} has restored its sessions"), async || {
        let row = sql.query_opt(registration, &[&name]).await?;
        Ok(row.is_some_and(|row| row.get::<_, String>(0) != before && row.get(1)))
    })
    .await?;
    let statements = world.statements().await?.since(&statements, &[&role]);
    world.fleet.totals().await?.expect_undisturbed()?;
    Ok(Resync { peers: world.peers / 2, seconds: right.since(begin).as_secs_f64(), statements })
}
