//! B54 and B55: Postgres restarts, is killed, fails over, or stalls. The websockets stay open, and no peer is told that a
//! connected partner has left.

use std::time::Duration;

use anyhow::Result;
use tailnet_harness::{
    Stack,
    operator::{Operator, Peers},
    private_cluster::Shutdown,
    relay::Traffic,
    stack::{Pair, Setup},
};
use tailnet_tools::{
    cluster,
    websocket::{ConnectError, Credentials},
};
use tailnet_wire::Role;

use crate::connection_events::{alone, ids};

tests_on! {
    own_postgres: Setup { private_cluster: true, ..Setup::of(2) } =>
        b54_fast_restart, b54_immediate_restart, b54_kill, b55_a_stall_of_postgres;
    own_postgres_with_a_standby: Setup { standby: true, ..Setup::of(2) } => b54_failover;
    own_postgres_behind_relays: Setup { private_cluster: true, relayed: true, ..Setup::of(2) } =>
        b54_a_goodbye_is_final_after_a_crash_forgot_the_session;
}

/// Postgres has told both proxies that peers which are absent from the tables are gone.
const SETTLED: &str = "SELECT count(*) = 2 AND bool_and(settled) FROM tailnet_private.coordinators";

async fn outlives(stack: &Stack, shutdown: Shutdown) -> Result<()> {
    let Pair { mut client, mut agent } = stack.pair().await?;
    let Pair { client: left_behind, agent: leaving } = stack.pair().await?;
    let (stranger, leaving_id) = (stack.create(Role::Client).await?, leaving.id());
    // The marker is made while there is a connection to make it with.
    stack.settle(&[&client, &agent]).await?;
    stack.cluster().stop(shutdown).await?;
    for proxy in stack.proxies() {
        proxy.until_ready(false).await?;
        let refused = proxy.try_connect(&Credentials::header(&stranger.token)).await;
        assert!(matches!(refused, Err(ConnectError::Refused(status)) if status == 503), "{refused:?}");
    }
    // Changes coalesce meanwhile.
    for version in 2..=10 {
        agent.announce(version).await?;
    }
    let gone = tokio::spawn(leaving.disconnect());
    stack.cluster().start_again().await?;
    client.expect_node_of(&agent).await;
    client.announce_to(2, &[&agent]).await?;
    gone.await??;
    left_behind.expect_disconnected(leaving_id).await;
    for proxy in stack.proxies() {
        proxy.until_ready(true).await?;
    }
    stack.database().operator().await?.until("both proxies are settled", SETTLED, &[]).await?;
    stack.assert_nothing_else(&[&client, &agent, &left_behind]).await
}

pub async fn b54_fast_restart(stack: &Stack) -> Result<()> {
    outlives(stack, Shutdown::Fast).await
}

pub async fn b54_immediate_restart(stack: &Stack) -> Result<()> {
    outlives(stack, Shutdown::Immediate).await
}

pub async fn b54_kill(stack: &Stack) -> Result<()> {
    outlives(stack, Shutdown::Kill).await
}

async fn b54_failover(stack: &Stack) -> Result<()> {
    let Pair { mut client, mut agent } = stack.pair().await?;
    stack.settle(&[&client, &agent]).await?;
    stack.operator.set(&["synchronous_standby_names = '*'"]).await?;
    let synchronous = "SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'";
    stack.operator.until("replication is synchronous", synchronous, &[]).await?;

    let reports: Vec<_> = (0..2000).map(|_| alone()).collect();
    for frame in reports.chunks(100) {
        agent.report(frame).await?;
    }
    agent.until_acknowledged(500).await;
    stack.cluster().kill_tree().await?;
    let acknowledged = agent.acknowledged();
    agent.announce(2).await?;
    stack.standby().promote().await?;

    let mut config = stack.standby().superuser()?;
    let operator =
        Operator { sql: cluster::connect(config.dbname(stack.database().name())).await?, peers: Peers::default() };
    let kept = "SELECT count(*) FROM tailnet.connection_logs WHERE id = ANY ($1)";
    let kept: i64 = operator.value(kept, &[&acknowledged]).await?;
    assert_eq!(kept as usize, acknowledged.len(), "what was acknowledged is on the standby");

    client.expect_node_of(&agent).await;
    client.announce_to(2, &[&agent]).await?;
    agent.expect_acknowledged(&ids(&reports)).await;
    operator.until("both proxies are settled", SETTLED, &[]).await?;
    stack.assert_nothing_else(&[&client, &agent]).await
}

/// A session moves to the other proxy just before a crash, and the crash loses that. It says goodbye while the proxies
/// restore their sessions.
async fn b54_a_goodbye_is_final_after_a_crash_forgot_the_session(stack: &Stack) -> Result<()> {
    let identity = stack.create(Role::Client).await?;
    let old = stack.left().connect(&identity).await?;
    // Postgres does not write its log to the disk before it is killed.
    stack.operator.set(&["wal_writer_delay = '10 s'"]).await?;
    stack.operator.sql.batch_execute("CHECKPOINT").await?;
    stack.left_relay().set(Traffic::Stalled);
    let new = stack.right().connect(&identity).await?;
    let moved = "SELECT count(*) = 1 FROM tailnet.peers WHERE coordinator = 'proxy-2'";
    stack.operator.until("the peer has moved", moved, &[]).await?;
    stack.cluster().stop(Shutdown::Kill).await?;
    stack.left_relay().set(Traffic::Cut);
    stack.right().until_ready(false).await?;
    let goodbye = tokio::spawn(new.disconnect());
    stack.cluster().start_again().await?;
    stack.left_relay().set(Traffic::Flows);
    goodbye.await??;
    assert_eq!(old.expect_close(4001).await, "superseded");
    let gone = "SELECT count(*) = 0 FROM tailnet.peers";
    stack.database().operator().await?.until("the peer is gone", gone, &[]).await
}

/// Longer than any expiry. Proxies still take Postgres for stalled, and not for gone.
const STALL: Duration = Duration::from_secs(30);

async fn b55_a_stall_of_postgres(stack: &Stack) -> Result<()> {
    let Pair { client, mut agent } = stack.pair().await?;
    stack.settle(&[&client, &agent]).await?;
    stack.cluster().stall().await?;
    agent.announce(2).await?;
    tokio::time::sleep(STALL).await;
    assert_eq!(stack.left().get("/readyz", &[]).await?.0, 503);
    client.assert_nothing_else();
    stack.cluster().go_on().await?;
    client.expect_node_of(&agent).await;
    for proxy in stack.proxies() {
        proxy.until_ready(true).await?;
    }
    // Nobody was expired meanwhile, and the first proxy whose heartbeats are on time again expires nobody.
    let on_time = "SELECT bool_and(on_time_since < now() - '7 s'::interval) AND count(*) = 2
                   FROM tailnet_private.coordinators";
    stack.operator.until("heartbeats of both were on time for longer than an expiry", on_time, &[]).await?;
    stack.assert_nothing_else(&[&client, &agent]).await
}
