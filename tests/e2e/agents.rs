//! When agents were connected.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use futures_util::future::try_join_all;
use proptest::{collection::vec, option, prelude::*, strategy::ValueTree, test_runner::TestRunner};
use tailnet_harness::{Proxy, Stack, deadline::until, run, run_with, stack::Setup, statements::Statements};
use tailnet_wire::Role;
use uuid::Uuid;

use crate::orders;

// What is seen with these options was not written as a heartbeat.
on_one_proxy_and_on_two! {
    with &[("--heartbeat-interval", "1h")];
    b60_agent_connects_and_disconnects,
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
    Ok(stack.operator.sql.query_one(sql, &[&agent]).await?.get(0))
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
    // Whatever the proxy of the old session writes of its end is written before this.
    let other = stack.left().connect(&stack.create(Role::Agent).await?).await?;
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
    let client = stack.left().connect(&stack.create(Role::Client).await?).await?;
    stack.settle(&[&client]).await?;
    assert_eq!(row(stack, client.id()).await?, None);
    Ok(())
}

const BEATS: u64 = 60;

#[tokio::test]
async fn b62_heartbeats_are_batched() {
    let options = &[("--heartbeat-interval", "1s"), ("--ping-interval", "500ms")];
    run_with(Setup { proxies: 1, options, ..Setup::default() }, async |stack: &Stack| {
        let proxy = stack.left();
        let agents = connect(stack, 12).await?;
        let mut before = Vec::new();
        for agent in &agents {
            before.push(until_row(stack, agent.id(), "the connect is written", |row| row.first.is_some()).await?);
        }
        let statements = Statements::count(stack).await?;
        let beats = received(proxy).await?;
        until("pongs have arrived", async || Ok(received(proxy).await? >= beats + BEATS)).await?;
        let (now, beats) = (Statements::count(stack).await?, received(proxy).await? - beats);
        let calls = now.since(&statements, proxy);
        let calls: i64 =
            calls.iter().filter(|(sql, _)| sql.contains("update_agent_connections(")).map(|(_, calls)| calls).sum();
        assert!(calls > 0 && calls as u64 * 4 <= beats, "{calls} calls for {beats} heartbeats");
        for (agent, before) in agents.iter().zip(before) {
            let row = until_row(stack, agent.id(), "a heartbeat is written", |row| row.last > before.last).await?;
            assert_eq!((row.first, row.gone), (before.first, None));
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn b62_a_shutdown_writes_what_waits() {
    let options = &[("--heartbeat-interval", "1h"), ("--ping-interval", "500ms")];
    run_with(Setup { proxies: 1, options, ..Setup::default() }, async |stack: &Stack| {
        let agents = connect(stack, 12).await?;
        for agent in &agents {
            until_row(stack, agent.id(), "the connect is written", |row| row.first.is_some()).await?;
        }
        let ended = stack.left().terminate().await?;
        assert!(ended.success(), "{ended}");
        for agent in &agents {
            assert!(!agent.expect_close(1012).await.is_empty(), "the close has a reason");
            let row = row(stack, agent.id()).await?.expect("it was there");
            assert!(row.gone >= row.last, "{row:?}");
            assert_eq!(status(stack, agent.id()).await?, "disconnected");
        }
        Ok(())
    })
    .await;
}

async fn connect(stack: &Stack, count: usize) -> Result<Vec<tailnet_harness::TestPeer>> {
    try_join_all((0..count).map(async |_| stack.left().connect(&stack.create(Role::Agent).await?).await)).await
}

/// How many heartbeats a proxy has been told.
async fn received(proxy: &Proxy) -> Result<u64> {
    proxy.metric("tailnet_requests_received_total{role=\"heartbeater\"}").await
}

#[tokio::test]
async fn b66_status_by_sql() {
    run(1, async |stack: &Stack| {
        let timeouts = async |connect: &str, inactive: &str| {
            let sql = format!("SELECT tailnet.set_agent_timeouts('home', '{connect}', '{inactive}')");
            stack.operator.sql.batch_execute(&sql).await
        };
        let (never, identity) = (stack.create(Role::Agent).await?, stack.create(Role::Agent).await?);
        assert_eq!(status(stack, never.id).await?, "connecting");
        timeouts("1 us", "1 h").await?;
        assert_eq!(status(stack, never.id).await?, "timeout");
        let agent = stack.left().connect(&identity).await?;
        until("it is connected", async || Ok(status(stack, identity.id).await? == "connected")).await?;
        // Not heard of for too long.
        timeouts("1 us", "1 us").await?;
        assert_eq!(status(stack, identity.id).await?, "disconnected");
        timeouts("1 h", "1 h").await?;
        assert_eq!(status(stack, identity.id).await?, "connected");
        assert_eq!(status(stack, never.id).await?, "connecting");
        agent.disconnect().await?;
        until("it is disconnected", async || Ok(status(stack, identity.id).await? == "disconnected")).await?;
        let _back = stack.left().connect(&identity).await?;
        until("it is connected again", async || Ok(status(stack, identity.id).await? == "connected")).await
    })
    .await;
}

/// What one write says of an agent: seconds, and one of few coordinators.
type Write = (Option<u64>, Option<u64>, Option<u64>, Option<u128>);

#[tokio::test]
async fn b61_any_order_of_writes_ends_the_same() {
    run(0, async |stack: &Stack| {
        let sql = &stack.operator.sql;
        let time = || option::of(0..5_u64);
        let writes = vec((time(), time(), time(), option::of(1..4_u128)), 1..6);
        let mut runner = TestRunner::deterministic();
        for _ in 0..60 {
            let writes: Vec<Write> = writes.new_tree(&mut runner).expect("no filter").current();
            let agent = stack.create(Role::Agent).await?.id;
            let mut end = None;
            for calls in orders::of(&writes, &mut runner) {
                sql.batch_execute("BEGIN").await?;
                for call in &calls {
                    let at = |part: fn(&Write) -> Option<u64>| -> Vec<Option<SystemTime>> {
                        let time = |second| SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + second);
                        call.iter().map(|write| part(write).map(time)).collect()
                    };
                    let coordinators: Vec<_> = call.iter().map(|write| write.3.map(Uuid::from_u128)).collect();
                    let (first, last, gone) = (at(|w| w.0), at(|w| w.1), at(|w| w.2));
                    let update = "SELECT count(*) FROM tailnet.update_agent_connections($1, $2, $3, $4, $5)";
                    sql.query_one(update, &[&std::vec![agent; call.len()], &first, &last, &gone, &coordinators])
                        .await?;
                }
                let all = "SELECT to_jsonb(a) - 'updated_at' FROM tailnet.agent_connections a WHERE agent_id = $1";
                let row: serde_json::Value = sql.query_one(all, &[&agent]).await?.get(0);
                sql.batch_execute("ROLLBACK").await?;
                assert_eq!(*end.get_or_insert_with(|| row.clone()), row, "{writes:?} as {calls:?}");
            }
        }
        Ok(())
    })
    .await;
}
