//! B50–B53 and B56–B58: coordinators end, stall, lose their log or Postgres, and are reaped.

use std::time::SystemTime;

use anyhow::Result;
use tailnet_harness::{
    Stack,
    deadline::until,
    process_tree,
    relay::Traffic,
    stack::{Pair, Setup},
};
use tailnet_tools::websocket::{ConnectError, Credentials};
use tailnet_wire::Role;

use crate::connection_events::alone;

tests_on! {
    two_proxies: Setup::of(2) =>
        b50_peers_of_a_killed_proxy_are_lost,
        b51_graceful_shutdown,
        b52_a_stalled_proxy_is_expired_and_comes_back,
        b53_the_listen_connection_is_cut,
        b53_every_connection_of_a_proxy_is_cut,
        b53_the_listen_connection_is_stuck,
        b54_session_numbers_that_were_forgotten_are_not_given_again,
        b58_peers_that_stay_lost_are_removed;
    three_proxies: Setup::of(3) => b57_two_live_proxies_expire_the_third_once;
    relayed: Setup { relayed: true, options: &[("--shed-after", "1s")], ..Setup::of(2) } =>
        b56_a_proxy_that_is_cut_from_postgres_sheds_its_peers,
        b56_a_proxy_that_hears_nothing_of_postgres_sheds_its_peers;
}

async fn b50_peers_of_a_killed_proxy_are_lost(stack: &Stack) -> Result<()> {
    let Pair { client, agent } = stack.pair().await?;
    stack.right().kill().await?;
    agent.expect_end().await;
    client.expect_lost(agent.id()).await;
    let _agent = stack.left().reconnect(agent.identity(), 2, &client).await?;
    client.assert_nothing_else();
    Ok(())
}

async fn b51_graceful_shutdown(stack: &Stack) -> Result<()> {
    let Pair { client, mut agent } = stack.pair().await?;
    // Both still wait in a batch when the proxy is asked to end.
    agent.report(&[alone()]).await?;
    agent.announce_to(2, &[&client]).await?;
    stack.right().terminate().await?;
    // Everything is done when the process ends. Nothing waits for an expiry.
    let operator = &stack.operator;
    let left: i64 = operator.value("SELECT count(*) FROM tailnet.coordinators", &[]).await?;
    assert_eq!(left, 1, "its registration is closed");
    let (status, _) = operator.binding(agent.id()).await?.expect("the binding stays");
    assert_eq!((status.as_str(), operator.coordinator(agent.id()).await?), ("lost", None));
    let reports: i64 = operator.value("SELECT count(*) FROM tailnet.connection_logs", &[]).await?;
    assert_eq!(reports, 1, "reports are flushed");
    let agents = "SELECT status FROM tailnet.agents WHERE agent_id = $1";
    assert_eq!(operator.value::<String>(agents, &[&agent.id()]).await?, "disconnected");

    client.expect_lost(agent.id()).await;
    agent.expect_close(1012).await;
    assert!(operator.has_tunnel(client.id(), agent.id()).await?, "tunnels stay");
    client.assert_nothing_else();
    Ok(())
}

async fn b52_a_stalled_proxy_is_expired_and_comes_back(stack: &Stack) -> Result<()> {
    let Pair { mut client, mut agent } = stack.pair().await?;
    let Pair { client: other_client, agent: moving } = stack.pair().await?;
    stack.right().stall().await?;
    // The proxy reads this only when it goes on. By then the session of the moving peer is superseded.
    agent.announce(2).await?;
    stack.operator.until_expired(stack.right().name()).await?;
    client.expect_lost(agent.id()).await;
    other_client.expect_lost(moving.id()).await;
    let moved = stack.left().reconnect(moving.identity(), 3, &other_client).await?;

    stack.right().go_on().await?;
    client.expect_node_of(&agent).await;
    moving.expect_close(4001).await;
    client.announce_to(2, &[&agent]).await?;
    stack.assert_nothing_else(&[&client, &agent, &other_client, &moved]).await
}

async fn b53_the_listen_connection_is_cut(stack: &Stack) -> Result<()> {
    let Pair { mut client, mut agent } = stack.pair().await?;
    let Pair { client: idle, agent: leaving } = stack.pair().await?;
    let leaving_id = leaving.id();
    let before = stack.left().metric("tailnet_resyncs_total").await?;
    for round in 1..=5 {
        // The agent announces before, during and after the cut. Partners may miss all but the last node.
        agent.announce(3 * round).await?;
        let (ended, announced) = tokio::join!(
            stack.operator.end_connections(stack.left().name(), "listener"),
            agent.announce(3 * round + 1)
        );
        assert_eq!(ended?, 1, "it listens");
        announced?;
        agent.announce(3 * round + 2).await?;
        let resynced = async || Ok(stack.left().metric("tailnet_resyncs_total").await? >= before + round);
        until("the log is listened to again", resynced).await?;
        client.expect_node_of(&agent).await;
    }
    stack.operator.end_connections(stack.left().name(), "listener").await?;
    leaving.disconnect().await?;
    client.close_tunnel(agent.id()).await?;
    client.expect_disconnected(agent.id()).await;
    idle.expect_disconnected(leaving_id).await;
    agent.expect_disconnected(client.id()).await;
    stack.assert_nothing_else(&[&client, &agent, &idle]).await
}

async fn b53_every_connection_of_a_proxy_is_cut(stack: &Stack) -> Result<()> {
    let Pair { mut client, mut agent } = stack.pair().await?;
    for version in 2..6 {
        client.announce(version).await?;
        stack.left().until_ready(true).await?;
        assert!(stack.operator.end_connections(stack.left().name(), "%").await? >= 2);
        agent.announce(version).await?;
        client.expect_each_other(&agent).await;
    }
    stack.assert_nothing_else(&[&client, &agent]).await
}

/// A standby that was behind has become the primary, or a backup was restored: the sequence has forgotten numbers that live
/// sessions have.
async fn b54_session_numbers_that_were_forgotten_are_not_given_again(stack: &Stack) -> Result<()> {
    let Pair { client, agent } = stack.pair().await?;
    let forget = "ALTER SEQUENCE tailnet_private.sessions RESTART; UPDATE tailnet_private.identities SET session = 0";
    stack.operator.sql.batch_execute(forget).await?;
    let before = stack.right().metric("tailnet_resyncs_total").await?;
    stack.operator.end_connections(stack.right().name(), "listener").await?;
    let resynced = async || Ok(stack.right().metric("tailnet_resyncs_total").await? > before);
    until("the log is listened to again", resynced).await?;
    let restored = "SELECT bool_and(restored) FROM tailnet.coordinators";
    stack.operator.until("all sessions are restored", restored, &[]).await?;

    let identity = agent.identity().clone();
    let newer = stack.left().reconnect(&identity, 2, &client).await?;
    agent.expect_close(4001).await;
    stack.assert_nothing_else(&[&client, &newer]).await
}

/// The LISTEN connection stands and carries nothing, while Postgres answers heartbeats.
async fn b53_the_listen_connection_is_stuck(stack: &Stack) -> Result<()> {
    let Pair { client, mut agent } = stack.pair().await?;
    let sql = "SELECT listener_pid FROM tailnet.coordinators WHERE name = $1";
    let stuck: i32 = stack.operator.value(sql, &[&stack.left().name()]).await?;
    process_tree::signal("STOP", &[stuck.cast_unsigned()]).await?;
    agent.announce_to(2, &[&client]).await?;
    // The proxy registered again and told it to end. It ends when it can.
    process_tree::signal("CONT", &[stuck.cast_unsigned()]).await?;
    let ended = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)";
    stack.operator.until("the stuck backend has ended", ended, &[&stuck]).await?;
    stack.assert_nothing_else(&[&client, &agent]).await
}

async fn loses_postgres(stack: &Stack, traffic: Traffic) -> Result<()> {
    let Pair { client, agent } = stack.pair().await?;
    stack.right_relay().set(traffic);
    stack.right().until_ready(false).await?;
    let other = stack.create(Role::Agent).await?;
    let refused = stack.right().try_connect(&Credentials::header(&other.token)).await;
    assert!(matches!(refused, Err(ConnectError::Refused(status)) if status == 503), "{refused:?}");
    agent.expect_close(1013).await;
    client.expect_lost(agent.id()).await;
    let agent = stack.left().reconnect(agent.identity(), 2, &client).await?;

    // The proxy may still write what it knew of the peer: that is too late.
    stack.right_relay().set(Traffic::Flows);
    stack.right().until_ready(true).await?;
    stack.operator.until_registered(2).await?;
    let other = stack.right().connect(&other).await?;
    stack.assert_nothing_else(&[&client, &agent, &other]).await
}

async fn b56_a_proxy_that_is_cut_from_postgres_sheds_its_peers(stack: &Stack) -> Result<()> {
    loses_postgres(stack, Traffic::Cut).await
}

async fn b56_a_proxy_that_hears_nothing_of_postgres_sheds_its_peers(stack: &Stack) -> Result<()> {
    loses_postgres(stack, Traffic::Stalled).await
}

async fn b57_two_live_proxies_expire_the_third_once(stack: &Stack) -> Result<()> {
    let Pair { client, agent } = stack.pair().await?;
    let mut other = stack.proxies()[1].connect(&stack.create(Role::Hub).await?).await?;
    other.open_tunnel(agent.id()).await?;
    other.expect_node_of(&agent).await;
    stack.right().kill().await?;
    client.expect_lost(agent.id()).await;
    other.expect_lost(agent.id()).await;
    stack.operator.until_registered(2).await?;
    // Some heartbeats later.
    let now: SystemTime = stack.operator.value("SELECT now()", &[]).await?;
    let sql = "SELECT min(heartbeat_at) > $1 FROM tailnet.coordinators";
    stack.operator.until("both have sent another heartbeat", sql, &[&now]).await?;
    client.assert_nothing_else();
    other.assert_nothing_else();
    Ok(())
}

async fn b58_peers_that_stay_lost_are_removed(stack: &Stack) -> Result<()> {
    let Pair { client: kept, agent: old } = stack.pair().await?;
    let Pair { client: gone, agent: live } = stack.pair().await?;
    let (young, _) = stack.create_pair().await?;
    stack.left().connect(&young).await?.cut().await?;
    let (old, gone) = (old.id(), gone.id());
    let ids = vec![old, gone];
    let (sql, operator) = (&stack.operator.sql, &stack.operator);
    let lose = "UPDATE tailnet_private.peers
                SET coordinator_id = NULL, status = 'lost', lost_at = now() - '25 h'::interval WHERE id = ANY ($1)";
    assert_eq!(sql.execute(lose, &[&ids]).await?, 2);
    sql.batch_execute("UPDATE tailnet_private.tunnels SET created_at = now() - '2 d'::interval").await?;
    let removed = "SELECT count(*) = 0 FROM tailnet.peers WHERE peer_id = ANY ($1)";
    operator.until("the old ones are removed", removed, &[&ids]).await?;
    kept.expect_disconnected(old).await;
    live.expect_disconnected(gone).await;
    assert!(operator.has_tunnel(kept.id(), old).await?, "an old tunnel of a live peer is kept");
    assert!(!operator.has_tunnel(gone, live.id()).await?, "the tunnels that it opened are removed with it");
    operator.until_gone(young.id).await?;
    let kept = "SELECT count(*) FROM tailnet.peers WHERE peer_id = $1";
    assert_eq!(operator.value::<i64>(kept, &[&young.id]).await?, 1, "a young one is kept");
    Ok(())
}
