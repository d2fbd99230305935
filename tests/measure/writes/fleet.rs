//! Phase: real agents on real proxies.

use std::{env, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use serde::Serialize;
use tailnet_harness::Proxy;
use tailnet_measure::progress::Progress;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use crate::{
    holder::CONNECTED,
    world::{Agent, World},
};

/// How long the fleet is observed.
pub const SPAN: Duration = Duration::from_secs(60);

/// Until all agents are connected and beat; only a failure waits so long.
const DEADLINE: Duration = Duration::from_secs(300);

/// Steps of this phase.
pub const STEPS: usize = 3;

/// What Postgres did while all agents were connected.
#[derive(Debug, Serialize)]
pub struct Fleet {
    /// Seconds that it took to connect all of them.
    pub connect_seconds: f64,
    /// Heartbeats that changed a row.
    pub heartbeats: i64,
    /// Share of updates that left the indexes alone.
    pub hot: f64,
    /// Bytes of WAL for each heartbeat, with `full_page_writes` off.
    pub wal_a_heartbeat: f64,
    /// Heartbeat transactions a second, for each proxy.
    pub commits_a_second: Vec<f64>,
}

/// A process that holds the websockets of one proxy's agents. Killed when it is dropped.
struct Load {
    child: Child,
}

/// Connects all agents with default options, and observes them. None: the proxy that is built writes no heartbeats.
///
/// # Errors
/// When an agent cannot be connected, or is cut off.
pub async fn run(world: &World, progress: &Progress) -> Result<Option<Fleet>> {
    if !writes_heartbeats().await? {
        return Ok(None);
    }
    let (meter, logins) = (&world.meter, world.database.logins());
    // So that the first connect of each agent is one.
    meter.sql.batch_execute("TRUNCATE tailnet_private.agent_connections").await?;
    let proxies = logins.iter().zip(1..).map(async |(login, number)| {
        Proxy::start(&format!("bench-{number}"), &login.role, &world.database.url(login)?).await
    });
    let proxies = try_join_all(proxies).await?;
    progress.step("connecting the fleet");
    let began = Instant::now();
    let shares = world.agents.chunks(world.agents.len().div_ceil(proxies.len()));
    let loads = shares.zip(&proxies).map(async |(agents, proxy)| Load::start(&proxy.url(), agents).await);
    let mut loads = timeout(DEADLINE, try_join_all(loads)).await.context("not all agents connected in time")??;
    let connect_seconds = began.elapsed().as_secs_f64();

    progress.step("waiting for a heartbeat of each agent");
    let since = meter.sql.query_one("SELECT clock_timestamp()::text", &[]).await?.get::<_, String>(0);
    let all_beat = async {
        let sql = "SELECT count(*) FROM tailnet.agent_connections WHERE last_connected_at > $1::text::timestamptz";
        while meter.sql.query_one(sql, &[&since]).await?.get::<_, i64>(0) < i64::try_from(world.agents.len())? {
            sleep(Duration::from_millis(500)).await;
        }
        anyhow::Ok(())
    };
    timeout(DEADLINE, all_beat).await.context("not all agents beat in time")??;

    progress.step("observing the fleet");
    let roles: Vec<_> = logins.iter().map(|login| login.role.clone()).collect();
    meter.start_over(false).await?;
    let (updates, calls, wal, began) =
        (meter.updates().await?, meter.calls(&roles).await?, meter.wal().await?, Instant::now());
    sleep(SPAN).await;
    let seconds = began.elapsed().as_secs_f64();
    let (after, calls_after, wal_after) = (meter.updates().await?, meter.calls(&roles).await?, meter.wal().await?);
    for load in &mut loads {
        ensure!(load.child.try_wait()?.is_none(), "a load process ended: an agent was cut off");
    }
    let heartbeats = after.all - updates.all;
    ensure!(heartbeats > 0, "no heartbeat was written");
    Ok(Some(Fleet {
        connect_seconds,
        heartbeats,
        hot: (after.hot - updates.hot) as f64 / heartbeats as f64,
        wal_a_heartbeat: (wal_after - wal) / heartbeats as f64,
        commits_a_second: calls_after
            .iter()
            .zip(calls)
            .map(|(after, before)| (after - before) as f64 / seconds)
            .collect(),
    }))
}

/// Whether the proxy that is built can.
async fn writes_heartbeats() -> Result<bool> {
    let built = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/release/tailnet-proxy");
    let binary = env::var_os("TAILNET_PROXY_BIN").unwrap_or_else(|| built.into());
    let output = Command::new(binary).arg("--help").output().await.context("cannot run tailnet-proxy: make build")?;
    Ok(String::from_utf8_lossy(&output.stdout).contains("--liveness-"))
}

impl Load {
    /// Returns when all agents are connected.
    async fn start(url: &str, agents: &[Agent]) -> Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .args(["hold", "--url", url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start a load process")?;
        let tokens: String = agents.iter().map(|agent| format!("{}\n", agent.token)).collect();
        let mut stdin = child.stdin.take().context("stdin is piped")?;
        stdin.write_all(tokens.as_bytes()).await?;
        drop(stdin);
        let mut said = BufReader::new(child.stdout.take().context("stdout is piped")?).lines();
        let line = said.next_line().await?;
        ensure!(line.as_deref() == Some(CONNECTED), "a load process said {line:?}, expected {CONNECTED:?}");
        Ok(Self { child })
    }
}
