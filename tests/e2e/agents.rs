//! When agents were connected.

use std::time::SystemTime;

use anyhow::Result;
use futures_util::future::try_join_all;
use tailnet_harness::{Proxy, Stack, TestPeer, deadline::until, stack::Setup, statements::Statements};
use tailnet_wire::Role;
use uuid::Uuid;

tests_on! {
    // With an interval of an hour, no row that the test sees was written as liveness.
    one_proxy: Setup::of(1).with(&[("--liveness-interval", "1h")]) => b60_agent_connects_and_disconnects;
    two_proxies: Setup::of(2).with(&[("--liveness-interval", "1h")]) => b60_agent_connects_and_disconnects;
    often: Setup::of(1).with(&[("--liveness-interval", "1s"), ("--ping-interval", "500ms")]) =>
        b62_liveness_is_batched;
    seldom: Setup::of(1).with(&[("--liveness-interval", "1h"), ("--ping-interval", "500ms")]) =>
        b62_a_shutdown_writes_what_waits;
    by_default: Setup::of(1) => b66_status_by_sql;
}

/// A row of `tailnet.agent_connections`.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    first: Option<SystemTime>,
    last: Option<SystemTime>,
    gone: Option<SystemTime>,
    coordinator: Option<String>,
}

async fn row(stack: &Stack, agent: Uuid) -> Result<Option<Row>> {
    let sql = "SELECT a.first_connected_at, a.last_connected_at, a.disconnected_at, c.name
               FROM tailnet.agent_connections a
               LEFT JOIN tailnet_private.coordinators c ON c.id = a.coordinator_id
               WHERE a.agent_id = $1";
    let row = stack.operator.sql.query_opt(sql, &[&agent]).await?;
    Ok(row.map(|row| Row { first: row.get(0), last: row.get(1), gone: row.get(2), coordinator: row.get(3) }))
}

/// Waits for a row of this form, and returns it.
async fn until_row(stack: &Stack, agent: Uuid, what: &str, is_it: impl Fn(&Row) -> bool) -> Result<Row> {
    until(what, async || Ok(row(stack, agent).await?.is_some_and(|row| is_it(&row)))).await?;
    Ok(row(stack, agent).await?.expect("it was there"))
}

async fn status(stack: &Stack, agent: Uuid) -> Result<String> {
    let sql = "SELECT status FROM tailnet.agents WHERE agent_id = $1";
    stack.operator.value(sql, &[&agent]).await
}

async fn until_status(stack: &Stack, agent: Uuid, expected: &str) -> Result<()> {
    until(&format!("the agent is {expected}"), async || Ok(status(stack, agent).await? == expected)).await
}

async fn b60_agent_connects_and_disconnects(stack: &Stack) -> Result<()> {
    let identity = stack.create(Role::Agent).await?;
    assert_eq!(row(stack, identity.id).await?, None);
    let old = stack.left().connect(&identity).await?;
    let first = until_row(stack, identity.id, "the connect is written", |row| row.first.is_some()).await?;
    assert_eq!(first.last, first.first);
    assert_eq!((first.gone, first.coordinator.as_deref()), (None, Some(stack.left().name())));

    let agent = stack.right().connect(&identity).await?;
    assert_eq!(old.expect_close(4001).await, "superseded");
    let second = until_row(stack, identity.id, "it connected again", |row| row.last > first.last).await?;
    assert_eq!(second.coordinator.as_deref(), Some(stack.right().name()));
    // If the proxy of the old session writes its end, it does so before this.
    let other = stack.connect_left(Role::Agent).await?;
    until_row(stack, other.id(), "another agent is written", |row| row.first.is_some()).await?;
    assert_eq!(row(stack, identity.id).await?, Some(second.clone()), "a superseded session is no disconnect");
    assert_eq!(second.first, first.first);

    agent.disconnect().await?;
    let third = until_row(stack, identity.id, "the goodbye is written", |row| row.gone.is_some()).await?;
    assert!(third.gone > second.last, "{third:?}");
    assert_eq!((third.first, third.last), (first.first, second.last));

    let agent = stack.right().connect(&identity).await?;
    let fourth = until_row(stack, identity.id, "it connected once more", |row| row.last > third.gone).await?;
    assert_eq!((fourth.first, fourth.gone), (first.first, third.gone), "a connect clears no disconnect");
    agent.cut().await?;
    let fifth = until_row(stack, identity.id, "the loss is written", |row| row.gone > fourth.last).await?;
    assert_eq!((fifth.first, fifth.last), (first.first, fourth.last));
    // Clients are not kept.
    let client = stack.connect_left(Role::Client).await?;
    stack.settle(&[&client]).await?;
    assert_eq!(row(stack, client.id()).await?, None);
    Ok(())
}

/// How often agents are heard, in the time that is looked at.
const PONGS: u64 = 60;

async fn b62_liveness_is_batched(stack: &Stack) -> Result<()> {
    let proxy = stack.left();
    let agents = connect(stack, 12).await?;
    let mut before = Vec::new();
    for agent in &agents {
        before.push(until_row(stack, agent.id(), "the connect is written", |row| row.first.is_some()).await?);
    }
    let statements = Statements::count(stack).await?;
    let before_pongs = received(proxy).await?;
    until("pongs have arrived", async || Ok(received(proxy).await? >= before_pongs + PONGS)).await?;
    let (now, pongs) = (Statements::count(stack).await?, received(proxy).await? - before_pongs);
    let calls = now.since(&statements, proxy);
    let calls: i64 =
        calls.iter().filter(|(sql, _)| sql.contains("update_agent_connections(")).map(|(_, calls)| calls).sum();
    assert!(calls > 0 && calls as u64 * 4 <= pongs, "{calls} calls for {pongs} pongs");
    for (agent, before) in agents.iter().zip(before) {
        let row = until_row(stack, agent.id(), "its liveness is written", |row| row.last > before.last).await?;
        assert_eq!((row.first, row.gone), (before.first, None));
    }
    Ok(())
}

async fn b62_a_shutdown_writes_what_waits(stack: &Stack) -> Result<()> {
    let agents = connect(stack, 12).await?;
    for agent in &agents {
        until_row(stack, agent.id(), "the connect is written", |row| row.first.is_some()).await?;
    }
    stack.left().terminate().await?;
    for agent in &agents {
        assert!(!agent.expect_close(1012).await.is_empty(), "the close has a reason");
        let row = row(stack, agent.id()).await?.expect("it was there");
        assert!(row.gone >= row.last, "{row:?}");
        assert_eq!(status(stack, agent.id()).await?, "disconnected");
    }
    Ok(())
}

async fn connect(stack: &Stack, count: usize) -> Result<Vec<TestPeer>> {
    try_join_all((0..count).map(async |_| stack.connect_left(Role::Agent).await)).await
}

/// How often a proxy has heard of any agent.
async fn received(proxy: &Proxy) -> Result<u64> {
    proxy.metric("tailnet_requests_received_total{worker=\"liveness\"}").await
}

async fn b66_status_by_sql(stack: &Stack) -> Result<()> {
    let timeouts = async |connect: &str, inactive: &str| {
        let sql = format!("SELECT tailnet.set_agent_timeouts('home', '{connect}', '{inactive}')");
        stack.operator.sql.batch_execute(&sql).await
    };
    let (never, identity) = (stack.create(Role::Agent).await?, stack.create(Role::Agent).await?);
    assert_eq!(status(stack, never.id).await?, "connecting");
    timeouts("1 us", "1 h").await?;
    assert_eq!(status(stack, never.id).await?, "timeout");
    let agent = stack.left().connect(&identity).await?;
    until_status(stack, identity.id, "connected").await?;
    // Not heard of for too long.
    timeouts("1 us", "1 us").await?;
    assert_eq!(status(stack, identity.id).await?, "disconnected");
    timeouts("1 h", "1 h").await?;
    assert_eq!(status(stack, identity.id).await?, "connected");
    assert_eq!(status(stack, never.id).await?, "connecting");
    agent.disconnect().await?;
    until_status(stack, identity.id, "disconnected").await?;
    let _back = stack.left().connect(&identity).await?;
    until_status(stack, identity.id, "connected").await
}
