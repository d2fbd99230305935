//! Postgres is killed under all peers. Each announces a node while it is away, so a view is right only when it was told
//! that one; and nobody may be told that a partner is lost, for none is.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use tailnet_harness::{deadline::until, private_cluster::PrivateCluster};
use tailnet_tools::cluster;
use tokio::time::{sleep, timeout};

use crate::{
    common::{meter::Meter, server::Server},
    peers::{
        clock::Moment,
        control::{End, Totals},
        world::World,
    },
};

/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(5);

/// Nothing takes so long, unless it will never be done.
const DEADLINE: Duration = Duration::from_secs(120);

#[derive(Debug, Serialize)]
pub struct Crash {
    pub peers: usize,
    /// For how long Postgres took no connections.
    pub away_seconds: f64,
    /// From when it took connections until every view was right.
    pub seconds: f64,
    /// Websockets that ended, until everything was settled.
    pub closed: u64,
    /// LOST and DISCONNECTED that peers were told until then.
    pub partings: u64,
}

/// Kills it, and starts it again.
/// Fails when not every view becomes right, or a peer is told a node that nobody announced.
pub async fn run(world: &mut World, cluster: &PrivateCluster) -> Result<Crash> {
    let before = world.fleet.totals().await?;
    let begin = Moment::now();
    cluster.kill().await?;
    world.fleet.announce(&[End::Agent, End::Client]).await?;
    let (started, accepting) = tokio::join!(cluster.start_again(), accepting(cluster));
    started?;
    let accepting = accepting?;
    let right = world.fleet.until_right().await?;
    world.meter = Meter::open(&world.database).await?;
    world.processes.postgres = Server::of(&world.meter.sql).await?;
    settle(world).await?;
    let totals = world.fleet.totals().await?;
    totals.expect_all_true()?;
    let partings = |totals: &Totals| totals.lost + totals.disconnected;
    Ok(Crash {
        peers: world.peers,
        away_seconds: accepting.since(begin).as_secs_f64(),
        seconds: right.since(accepting).as_secs_f64(),
        closed: totals.closed - before.closed,
        partings: partings(&totals) - partings(&before),
    })
}

/// When the first connection was taken.
async fn accepting(cluster: &PrivateCluster) -> Result<Moment> {
    let superuser = cluster.superuser()?;
    let looking = async {
        while cluster::connect(&superuser).await.is_err() {
            sleep(PAUSE).await;
        }
    };
    timeout(DEADLINE, looking).await.context("Postgres takes no connections")?;
    Ok(Moment::now())
}

/// Returns when all was told that there was to tell: what is absent only after everybody had the time to come back.
async fn settle(world: &mut World) -> Result<()> {
    let sql = &world.meter.sql;
    until("all proxies are settled", async || {
        let row =
            sql.query_one("SELECT count(*) FILTER (WHERE settled) FROM tailnet_private.coordinators", &[]).await?;
        Ok(row.get::<_, i64>(0) == 2)
    })
    .await?;
    // Each peer is told in order: what was told before this was read before this.
    world.fleet.announce(&[End::Agent, End::Client]).await?;
    world.fleet.until_right().await.map(drop)
}
