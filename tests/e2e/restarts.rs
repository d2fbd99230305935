//! B54 and B55: Postgres restarts, is killed, fails over, or stalls. The sockets stay open, and nobody hears that a
//! partner left who stayed connected.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use tailnet_harness::{
    Proxy, Stack,
    deadline::until,
    private_cluster::Shutdown,
    relay::Traffic,
    run_with,
    stack::{Pair, Setup},
};
use tailnet_tools::{
    cluster,
    websocket::{ConnectError, Credentials},
};
use tailnet_wire::Role;
use uuid::Uuid;

async fn until_ready(proxy: &Proxy, ready: bool) -> Result<()> {
    let status = if ready { 200 } else { 503 };
    let what = format!("{} is {}", proxy.name(), if ready { "ready" } else { "not ready" });
    until(&what, async || Ok(proxy.get("/readyz", &[]).await?.0 == status)).await
}

/// How Postgres goes away.
#[derive(Debug, Clone, Copy)]
enum End {
    Shutdown(Shutdown),
    Kill,
}

async fn outlives(stack: &Stack, end: End) -> Result<()> {
    let Pair { mut client, mut agent } = stack.pair().await?;
    let Pair { client: left_behind, agent: leaving } = stack.pair().await?;
    let (stranger, leaving_id) = (stack.create(Role::Client).await?, leaving.id());
    // The marker is made while there is a connection to make it with.
    stack.settle(&[&client, &agent]).await?;
    match end {
        End::Shutdown(shutdown) => stack.cluster().stop(shutdown).await?,
        End::Kill => stack.cluster().kill().await?,
    }
    for proxy in [stack.left(), stack.right()] {
        until_ready(proxy, false).await?;
        let refused = proxy.try_connect(&Credentials::header(&stranger.token)).await;
        assert!(matches!(refused, Err(ConnectError::Refused(status)) if status == 503), "{refused:?}");
    }
    // Changes coalesce meanwhile.
    for version in 2..10 {
        agent.announce(version).await?;
    }
    let node = agent.announce(10).await?;
    let gone = tokio::spawn(leaving.disconnect());
    stack.cluster().start_again().await?;
    client.expect_node(agent.id(), &node).await;
    let node = client.announce(2).await?;
    agent.expect_node(client.id(), &node).await;
    gone.await??;
    left_behind.expect_disconnected(leaving_id).await;
    for proxy in [stack.left(), stack.right()] {
        until_ready(proxy, true).await?;
    }
    // Everything that is withheld at first is told by then.
    let sql = stack.database().connect().await?;
    let settled = "SELECT count(*) = 2 AND bool_and(settled) FROM tailnet_private.coordinators";
    until("both proxies are settled", async || Ok(sql.query_one(settled, &[]).await?.get(0))).await?;
    stack.assert_nothing_else(&[&client, &agent, &left_behind]).await
}

async fn outlives_on_its_own_cluster(end: End) {
    let setup = Setup { proxies: 2, private_cluster: true, ..Setup::default() };
    run_with(setup, async |stack: &Stack| outlives(stack, end).await).await;
}

#[tokio::test]
async fn b54_fast_restart() {
    outlives_on_its_own_cluster(End::Shutdown(Shutdown::Fast)).await;
}

#[tokio::test]
async fn b54_immediate_restart() {
    outlives_on_its_own_cluster(End::Shutdown(Shutdown::Immediate)).await;
}

#[tokio::test]
async fn b54_kill() {
    outlives_on_its_own_cluster(End::Kill).await;
}

#[tokio::test]
async fn b54_failover() {
    run_with(Setup { proxies: 2, standby: true, ..Setup::default() }, async |stack: &Stack| {
        let Pair { mut client, mut agent } = stack.pair().await?;
        stack.settle(&[&client, &agent]).await?;
        let sql = &stack.operator.sql;
        sql.batch_execute("ALTER SYSTEM SET synchronous_standby_names = '*'").await?;
        sql.batch_execute("SELECT pg_reload_conf()").await?;
        let synchronous = "SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'";
        until("replication is synchronous", async || Ok(sql.query_one(synchronous, &[]).await?.get(0))).await?;

        let report = || json!({"id": Uuid::new_v4(), "type": "ssh", "connect_time": "2026-01-01T00:00:00Z"});
        let reports: Vec<_> = (0..2000).map(|_| report()).collect();
        for frame in reports.chunks(100) {
            agent.report(frame).await?;
        }
        agent.until_acknowledged(500).await;
        stack.cluster().kill_tree().await?;
        let acknowledged = agent.acknowledged();
        let node = agent.announce(2).await?;
        stack.standby().promote().await?;

        let mut config = stack.standby().superuser()?;
        let sql = cluster::connect(config.dbname(stack.database().name())).await?;
        let kept = "SELECT count(*) FROM tailnet.connection_logs WHERE id = ANY ($1)";
        let kept: i64 = sql.query_one(kept, &[&acknowledged]).await?.get(0);
        assert_eq!(kept as usize, acknowledged.len(), "what was acknowledged is on the standby");

        client.expect_node(agent.id(), &node).await;
        let node = client.announce(2).await?;
        agent.expect_node(client.id(), &node).await;
        let all: Vec<Uuid> =
            reports.iter().map(|report| report["id"].as_str()?.parse().ok()).map(Option::unwrap_or_default).collect();
        agent.expect_acknowledged(&all).await;
        let settled = "SELECT count(*) = 2 AND bool_and(settled) FROM tailnet_private.coordinators";
        until("both proxies are settled", async || Ok(sql.query_one(settled, &[]).await?.get(0))).await?;
        stack.assert_nothing_else(&[&client, &agent]).await
    })
    .await;
}

/// A session moves to the other proxy in the moment before a crash, which forgets that, and leaves while all is restored.
#[tokio::test]
async fn b54_a_goodbye_is_final_even_for_whom_a_crash_forgot() {
    let setup = Setup { proxies: 2, private_cluster: true, relayed: true, ..Setup::default() };
    run_with(setup, async |stack: &Stack| {
        let identity = stack.create(Role::Client).await?;
        let old = stack.left().connect(&identity).await?;
        let sql = &stack.operator.sql;
        // Nobody writes the log of Postgres to the disk until it is killed.
        for statement in ["ALTER SYSTEM SET wal_writer_delay = '10 s'", "SELECT pg_reload_conf()", "CHECKPOINT"] {
            sql.batch_execute(statement).await?;
        }
        stack.left_relay().set(Traffic::Stalled);
        let new = stack.right().connect(&identity).await?;
        let moved = "SELECT count(*) = 1 FROM tailnet.peers WHERE coordinator = 'proxy-2'";
        until("the peer has moved", async || Ok(sql.query_one(moved, &[]).await?.get(0))).await?;
        stack.cluster().kill().await?;
        stack.left_relay().set(Traffic::Cut);
        until_ready(stack.right(), false).await?;
        let goodbye = tokio::spawn(new.disconnect());
        stack.cluster().start_again().await?;
        stack.left_relay().set(Traffic::Flows);
        goodbye.await??;
        assert_eq!(old.expect_close(4001).await, "superseded");
        let sql = stack.database().connect().await?;
        let gone = "SELECT count(*) = 0 FROM tailnet.peers";
        until("the peer is gone", async || Ok(sql.query_one(gone, &[]).await?.get(0))).await
    })
    .await;
}

/// As long as no proxy takes it for the end of Postgres, and longer than any expiry.
const STALL: Duration = Duration::from_secs(30);

#[tokio::test]
async fn b55_a_stall_of_postgres() {
    let setup = Setup { proxies: 2, private_cluster: true, ..Setup::default() };
    run_with(setup, async |stack: &Stack| {
        let Pair { client, mut agent } = stack.pair().await?;
        stack.settle(&[&client, &agent]).await?;
        stack.cluster().stall().await?;
        let node = agent.announce(2).await?;
        tokio::time::sleep(STALL).await;
        assert_eq!(stack.left().get("/readyz", &[]).await?.0, 503);
        client.assert_nothing_else();
        stack.cluster().go_on().await?;
        client.expect_node(agent.id(), &node).await;
        for proxy in [stack.left(), stack.right()] {
            until_ready(proxy, true).await?;
        }
        // Nobody was expired, and nobody is by the first who beats on time again.
        let sql = "SELECT bool_and(on_time_since < now() - '7 s'::interval) AND count(*) = 2 FROM tailnet_private.coordinators";
        let late = async || Ok(stack.operator.sql.query_one(sql, &[]).await?.get(0));
        until("both have beaten on time for longer than an expiry", late).await?;
        stack.assert_nothing_else(&[&client, &agent]).await
    })
    .await;
}
