//! B50–B53 and B56–B58: coordinators end, stall, lose their log or Postgres, and are reaped.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use serde_json::json;
use tailnet_harness::{
    Stack, TestPeer,
    deadline::until,
    process_tree,
    relay::Traffic,
    run_with,
    stack::{Pair, Setup},
};
use tailnet_tools::{
    message::Request,
    websocket::{ConnectError, Credentials},
};
use tailnet_wire::Role;
use uuid::Uuid;

async fn until_registered(stack: &Stack, proxies: i64) -> Result<()> {
    let count = "SELECT count(*) FROM tailnet.coordinators";
    until("so many proxies are registered", async || {
        Ok(stack.operator.sql.query_one(count, &[]).await?.get::<_, i64>(0) == proxies)
    })
    .await
}

#[tokio::test]
async fn b50_peers_of_a_killed_proxy_are_lost() {
    run_with(Setup { proxies: 2, ..Setup::default() }, async |stack: &Stack| {
        let Pair { client, agent } = stack.pair().await?;
        stack.right().kill().await?;
        agent.expect_end().await;
        client.expect_lost(agent.id()).await;
        let mut agent = stack.left().connect(agent.identity()).await?;
        agent.expect_node(client.id(), &client.identity().node(1)).await;
        let node = agent.announce(2).await?;
        client.expect_node(agent.id(), &node).await;
        client.assert_nothing_else();
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn b51_graceful_shutdown() {
    run_with(Setup { proxies: 2, ..Setup::default() }, async |stack: &Stack| {
        let Pair { client, mut agent } = stack.pair().await?;
        // Neither waits in a batch for long enough to be written by itself.
        let report = json!({"id": Uuid::new_v4(), "type": "ssh", "connect_time": "2026-01-01T00:00:00Z"});
        agent.report(std::slice::from_ref(&report)).await?;
        let node = agent.announce(2).await?;
        client.expect_node(agent.id(), &node).await;
        let ended = stack.right().terminate().await?;
        assert!(ended.success(), "{ended}");
        // All of it is done when the process ends: nothing waits for an expiry.
        let sql = &stack.operator.sql;
        let left: i64 = sql.query_one("SELECT count(*) FROM tailnet.coordinators", &[]).await?.get(0);
        assert_eq!(left, 1, "its registration is closed");
        let (status, _) = stack.operator.binding(agent.id()).await?.expect("the binding stays");
        assert_eq!((status.as_str(), stack.operator.coordinator(agent.id()).await?), ("lost", None));
        let reports: i64 = sql.query_one("SELECT count(*) FROM tailnet.connection_logs", &[]).await?.get(0);
        assert_eq!(reports, 1, "reports are flushed");
        let agents = "SELECT status FROM tailnet.agents WHERE agent_id = $1";
        assert_eq!(sql.query_one(agents, &[&agent.id()]).await?.get::<_, String>(0), "disconnected");

        client.expect_lost(agent.id()).await;
        agent.expect_close(1012).await;
        assert!(stack.operator.has_tunnel(client.id(), agent.id()).await?, "tunnels stay");
        client.assert_nothing_else();
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn b52_a_stalled_proxy_is_expired_and_comes_back() {
    run_with(Setup { proxies: 2, ..Setup::default() }, async |stack: &Stack| {
        let Pair { client, mut agent } = stack.pair().await?;
        let Pair { client: other_client, agent: moving } = stack.pair().await?;
        let stalled = stack.right().stall().await?;
        // Asked for while nobody reads it, and by the end of it from a session that is superseded.
        agent.announce(2).await?;
        stack.operator.until_expired(stack.right().name()).await?;
        client.expect_lost(agent.id()).await;
        other_client.expect_lost(moving.id()).await;
        let mut moved = stack.left().connect(moving.identity()).await?;
        let node = moved.announce(3).await?;
        other_client.expect_node(moved.id(), &node).await;

        stalled.go_on().await?;
        client.expect_node(agent.id(), &agent.identity().node(2)).await;
        moving.expect_close(4001).await;
        let node = client.identity().node(2);
        let mut client = client;
        client.announce(2).await?;
        agent.expect_node(client.id(), &node).await;
        moved.expect_node(other_client.id(), &other_client.identity().node(1)).await;
        stack.assert_nothing_else(&[&client, &agent, &other_client, &moved]).await
    })
    .await;
}

#[tokio::test]
async fn b53_the_listen_connection_is_cut() {
    run_with(Setup { proxies: 2, ..Setup::default() }, async |stack: &Stack| {
        let Pair { mut client, mut agent } = stack.pair().await?;
        let Pair { client: idle, agent: leaving } = stack.pair().await?;
        let before = stack.left().metric("tailnet_resyncs_total").await?;
        for round in 1..=5 {
            // Before, beside and after the cut; what comes in between is told once, or passed over.
            agent.announce(3 * round).await?;
            let (ended, announced) = tokio::join!(
                stack.operator.end_connections(stack.left().name(), "listener"),
                agent.announce(3 * round + 1)
            );
            assert_eq!(ended?, 1, "it listens");
            announced?;
            let last = agent.announce(3 * round + 2).await?;
            let resynced = async || Ok(stack.left().metric("tailnet_resyncs_total").await? >= before + round);
            until("the log is listened to again", resynced).await?;
            client.expect_node(agent.id(), &last).await;
        }
        stack.operator.end_connections(stack.left().name(), "listener").await?;
        leaving.disconnect().await?;
        client.send(Request::remove_tunnel(agent.id())).await?;
        client.expect_disconnected(agent.id()).await;
        idle.expect_disconnected(idle_partner(stack, &idle).await?).await;
        agent.expect_disconnected(client.id()).await;
        stack.assert_nothing_else(&[&client, &agent, &idle]).await
    })
    .await;
}

/// The only peer to which a tunnel leads.
async fn idle_partner(stack: &Stack, peer: &TestPeer) -> Result<Uuid> {
    let sql = "SELECT dst_id FROM tailnet.tunnels WHERE src_id = $1";
    Ok(stack.operator.sql.query_one(sql, &[&peer.id()]).await?.get(0))
}

#[tokio::test]
async fn b53_every_connection_of_a_proxy_is_cut() {
    run_with(Setup { proxies: 2, ..Setup::default() }, async |stack: &Stack| {
        let Pair { mut client, mut agent } = stack.pair().await?;
        for version in 2..6 {
            client.announce(version).await?;
            assert!(stack.operator.end_connections(stack.left().name(), "%").await? >= 2);
            let node = agent.announce(version).await?;
            client.expect_node(agent.id(), &node).await;
            agent.expect_node(client.id(), &client.identity().node(version)).await;
        }
        stack.assert_nothing_else(&[&client, &agent]).await
    })
    .await;
}

/// The LISTEN connection is there and carries nothing, while heartbeats are answered.
#[tokio::test]
async fn b53_the_listen_connection_is_stuck() {
    run_with(Setup { proxies: 2, ..Setup::default() }, async |stack: &Stack| {
        let Pair { client, mut agent } = stack.pair().await?;
        let sql = "SELECT listener_pid FROM tailnet.coordinators WHERE name = $1";
        let stuck: i32 = stack.operator.sql.query_one(sql, &[&stack.left().name()]).await?.get(0);
        process_tree::signal("STOP", &[stuck.cast_unsigned()]).await?;
        let node = agent.announce(2).await?;
        client.expect_node(agent.id(), &node).await;
        // It was told to end when the proxy registered again, and does when it can.
        process_tree::signal("CONT", &[stuck.cast_unsigned()]).await?;
        until("the stuck backend has ended", async || {
            let sql = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)";
            Ok(!stack.operator.sql.query_one(sql, &[&stuck]).await?.get::<_, bool>(0))
        })
        .await?;
        stack.assert_nothing_else(&[&client, &agent]).await
    })
    .await;
}

const SHED_SOON: &[(&str, &str)] = &[("--shed-after", "1s")];

async fn loses_postgres(stack: &Stack, traffic: Traffic) -> Result<()> {
    let Pair { client, agent } = stack.pair().await?;
    stack.right_relay().set(traffic);
    until("it is not ready", async || Ok(stack.right().get("/readyz", &[]).await?.0 == 503)).await?;
    let other = stack.create(Role::Agent).await?;
    let refused = stack.right().try_connect(&Credentials::header(&other.token)).await;
    assert!(matches!(refused, Err(ConnectError::Refused(status)) if status == 503), "{refused:?}");
    agent.expect_close(1013).await;
    client.expect_lost(agent.id()).await;
    let mut agent = stack.left().connect(agent.identity()).await?;
    let node = agent.announce(2).await?;
    client.expect_node(agent.id(), &node).await;

    // Whatever the proxy still had to say of the peer is too late.
    stack.right_relay().set(Traffic::Flows);
    until("it is ready", async || Ok(stack.right().get("/readyz", &[]).await?.0 == 200)).await?;
    until_registered(stack, 2).await?;
    let other = stack.right().connect(&other).await?;
    agent.expect_node(client.id(), &client.identity().node(1)).await;
    stack.assert_nothing_else(&[&client, &agent, &other]).await
}

#[tokio::test]
async fn b56_a_proxy_that_is_cut_from_postgres_sheds_its_peers() {
    let setup = Setup { proxies: 2, relayed: true, options: SHED_SOON, ..Setup::default() };
    run_with(setup, async |stack: &Stack| loses_postgres(stack, Traffic::Cut).await).await;
}

#[tokio::test]
async fn b56_a_proxy_that_hears_nothing_of_postgres_sheds_its_peers() {
    let setup = Setup { proxies: 2, relayed: true, options: SHED_SOON, ..Setup::default() };
    run_with(setup, async |stack: &Stack| loses_postgres(stack, Traffic::Stalled).await).await;
}

#[tokio::test]
async fn b57_two_live_proxies_expire_the_third_once() {
    run_with(Setup { proxies: 3, ..Setup::default() }, async |stack: &Stack| {
        let Pair { client, agent } = stack.pair().await?;
        let mut other = stack.proxies()[1].connect(&stack.create(Role::Hub).await?).await?;
        other.send(Request::add_tunnel(agent.id())).await?;
        other.expect_node(agent.id(), &agent.identity().node(1)).await;
        stack.right().kill().await?;
        client.expect_lost(agent.id()).await;
        other.expect_lost(agent.id()).await;
        until_registered(stack, 2).await?;
        // Some beats later.
        let now: SystemTime = stack.operator.sql.query_one("SELECT now()", &[]).await?.get(0);
        let beaten = "SELECT min(heartbeat_at) > $1 FROM tailnet.coordinators";
        until("both beat again", async || Ok(stack.operator.sql.query_one(beaten, &[&now]).await?.get(0))).await?;
        client.assert_nothing_else();
        other.assert_nothing_else();
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn b58_peers_that_stay_lost_are_removed() {
    run_with(Setup { proxies: 2, ..Setup::default() }, async |stack: &Stack| {
        let Pair { client: kept, agent: old } = stack.pair().await?;
        let Pair { client: gone, agent: live } = stack.pair().await?;
        let (young, _) = stack.create_pair().await?;
        stack.left().connect(&young).await?.cut().await?;
        let (old, gone) = (old.identity().id, gone.identity().id);
        let ids = vec![old, gone];
        for peer in [&old, &gone] {
            let sql =
                "UPDATE tailnet_private.peers SET coordinator_id = NULL, status = 'lost', lost_at = $2 WHERE id = $1";
            let day_ago = SystemTime::now() - Duration::from_secs(25 * 60 * 60);
            stack.operator.sql.execute(sql, &[peer, &day_ago]).await?;
        }
        stack
            .operator
            .sql
            .batch_execute("UPDATE tailnet_private.tunnels SET created_at = now() - '2 d'::interval")
            .await?;
        until("the old ones are removed", async || {
            let sql = "SELECT count(*) FROM tailnet.peers WHERE peer_id = ANY ($1)";
            Ok(stack.operator.sql.query_one(sql, &[&ids]).await?.get::<_, i64>(0) == 0)
        })
        .await?;
        kept.expect_disconnected(old).await;
        live.expect_disconnected(gone).await;
        assert!(stack.operator.has_tunnel(kept.id(), old).await?, "an old tunnel of a live peer is kept");
        assert!(!stack.operator.has_tunnel(gone, live.id()).await?, "the tunnels that it opened are removed with it");
        stack.operator.until_gone(young.id).await?;
        let sql = "SELECT count(*) FROM tailnet.peers WHERE peer_id = $1";
        assert_eq!(stack.operator.sql.query_one(sql, &[&young.id]).await?.get::<_, i64>(0), 1, "a young one is kept");
        Ok(())
    })
    .await;
}
