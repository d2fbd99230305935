//! B64: the proxy acknowledges reports of connections once they are committed.

use std::{collections::HashSet, slice};

use anyhow::Result;
use serde_json::{Value, json};
use tailnet_harness::{Stack, TestPeer, deadline::until, private_cluster::Shutdown, stack::Setup};
use tailnet_wire::Role;
use uuid::Uuid;

use crate::connection_events::{alone, connect, disconnect, id, ids};

on_one_proxy_and_on_two! {
    b64_reports_are_acknowledged_after_the_commit,
}

tests_on! {
    short_queue: Setup::of(1).with(&[("--report-queue", "1024"), ("--report-interval", "20ms")]) =>
        b64_full_queue_stops_reading;
    own_postgres: Setup { private_cluster: true, ..Setup::of(1).with(SMALL_WRITES) } =>
        b64_nothing_acknowledged_is_lost_when_postgres_is_killed;
    small_writes: Setup::of(2).with(SMALL_WRITES) =>
        b64_nothing_acknowledged_is_lost_when_the_proxy_is_killed;
}

async fn rows(stack: &Stack) -> Result<i64> {
    stack.database().operator().await?.value("SELECT count(*) FROM tailnet.connection_logs", &[]).await
}

async fn b64_reports_are_acknowledged_after_the_commit(stack: &Stack) -> Result<()> {
    let mut agent = stack.connect_left(Role::Agent).await?;
    let mut other = stack.connect_right(Role::Agent).await?;
    let connection = Uuid::new_v4();
    let disconnect = json!({"id": Uuid::new_v4(), "connection_id": connection, "type": "ssh", "code": 7,
        "disconnect_time": "2026-01-01T00:01:00Z", "disconnect_reason": "it was time"});
    for report in [disconnect, connect(connection)] {
        agent.report(slice::from_ref(&report)).await?;
        agent.expect_acknowledged(&[id(&report)]).await;
    }
    // No id of a connection: a row each, however often it is reported.
    let lone = [alone(), alone()];
    for _ in 0..2 {
        agent.report(&lone).await?;
        agent.expect_acknowledged(&ids(&lone)).await;
    }
    other.report(&[alone()]).await?;
    other.until_acknowledged(1).await;
    let sql = "SELECT count(*), max(agent_id::text), max(disconnect_reason), max(code),
                      bool_and(connect_time < disconnect_time), count(*) FILTER (WHERE network = 'home')
               FROM tailnet.connection_logs WHERE connection_id = $1";
    let row = stack.operator.sql.query_one(sql, &[&connection]).await?;
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(5)), (1, 1), "two events of a connection are one row");
    assert_eq!(row.get::<_, String>(1), agent.id().to_string());
    assert_eq!((row.get::<_, String>(2), row.get::<_, i32>(3), row.get::<_, bool>(4)), ("it was time".into(), 7, true));
    assert_eq!(rows(stack).await?, 4);

    for role in [Role::Client, Role::Hub] {
        let mut peer = stack.connect_left(role).await?;
        peer.report(&[alone()]).await?;
        peer.expect_refusal(&["report_connections", role.as_str()], 1008).await;
    }

    for (fields, named) in [
        (json!({"colour": "red"}), "colour"),
        (json!({"connect_time": "at noon"}), "at noon"),
        (json!({"connect_time": null}), "connect_time"),
        (json!({"type": "telepathy"}), "telepathy"),
        (json!({"ip": "nowhere"}), "nowhere"),
        (json!({"code": 3_000_000_000_u64}), "3000000000"),
        (json!({"user_agent": "a\u{0}b"}), "report"),
        (json!({"id": null}), "id"),
        (json!({"agent_id": other.id()}), "agent_id"),
    ] {
        let mut malformed = stack.connect_left(Role::Agent).await?;
        let (good, mut bad) = (alone(), alone());
        let object = bad.as_object_mut().expect("a report is an object");
        object.extend(fields.as_object().expect("fields are an object").clone());
        other.report(slice::from_ref(&good)).await?;
        malformed.report(&[bad]).await?;
        malformed.expect_refusal(&[named], 1008).await;
        other.expect_acknowledged(&[id(&good)]).await;
    }
    assert_eq!(rows(stack).await?, 4 + 9, "nothing of a malformed report is written");

    // What stands beside it in the same frame is done.
    let mut mixed = stack.connect_left(Role::Agent).await?;
    let (good, mut bad) = (alone(), alone());
    bad["colour"] = "red".into();
    mixed.report(&[bad, good.clone()]).await?;
    mixed.expect_acknowledged(&[id(&good)]).await;
    mixed.expect_refusal(&["report", "events are malformed: event 1: unknown field `colour`"], 1008).await;
    assert_eq!(rows(stack).await?, 4 + 9 + 1);
    Ok(())
}

async fn b64_full_queue_stops_reading(stack: &Stack) -> Result<()> {
    let mut agent = stack.connect_left(Role::Agent).await?;
    let mut other = stack.connect_left(Role::Client).await?;
    let mut locker = stack.database().connect().await?;
    let lock = locker.transaction().await?;
    lock.batch_execute("LOCK TABLE tailnet_private.connection_logs IN ACCESS EXCLUSIVE MODE").await?;
    let reports: Vec<_> = (0..6 * 400).map(|_| alone()).collect();
    let before = stack.left().metric("tailnet_messages_received_total").await?;
    for frame in reports.chunks(400) {
        agent.report(frame).await?;
    }
    // There is room for two frames, and the third waits.
    let read = async || Ok::<_, anyhow::Error>(stack.left().metric("tailnet_messages_received_total").await? - before);
    until("three frames are read", async || Ok(read().await? >= 3)).await?;
    // Other peers do not wait.
    stack.bind(&mut other, 1).await?;
    assert_eq!(read().await?, 3 + 1);
    assert_eq!(agent.acknowledged().len(), 0);
    lock.commit().await?;
    agent.expect_acknowledged(&ids(&reports)).await;
    assert_eq!(rows(stack).await?, reports.len() as i64);
    agent.assert_nothing_else();
    Ok(())
}

/// How many reports are sent while a process is killed, and how many of them may wait for their acknowledgement.
const STREAM: usize = 3000;
const WINDOW: usize = 400;

/// Small writes are many, so that the kill interrupts one.
const SMALL_WRITES: &[(&str, &str)] = &[("--report-limit", "20"), ("--report-interval", "20ms")];

/// A stream of connects and disconnects of connections, and of reports without a connection.
fn stream() -> Vec<Value> {
    let three = |connection| [alone(), connect(connection), disconnect(connection)];
    (0..STREAM / 3).flat_map(|_| three(Uuid::new_v4())).collect()
}

/// Sends the reports up to `end`, as room for them comes.
async fn send(agent: &mut TestPeer, reports: &[Value], sent: &mut usize, end: usize) -> Result<()> {
    while *sent < end {
        agent.until_acknowledged((*sent + 20).saturating_sub(WINDOW)).await;
        report(agent, reports, sent, 20).await?;
    }
    Ok(())
}

/// Sends so many more reports, and waits for nothing.
async fn report(agent: &mut TestPeer, reports: &[Value], sent: &mut usize, count: usize) -> Result<()> {
    for frame in reports[*sent..*sent + count].chunks(20) {
        agent.report(frame).await?;
        *sent += frame.len();
    }
    Ok(())
}

/// Every acknowledged report is in the table, and no connection is there twice.
async fn assert_kept(stack: &Stack, reports: &[Value], acknowledged: &[Uuid]) -> Result<()> {
    let sql = stack.database().connect().await?;
    let table = "SELECT id, connection_id, connect_time IS NOT NULL, disconnect_time IS NOT NULL
                 FROM tailnet.connection_logs";
    let mut kept = HashSet::new();
    for row in sql.query(table, &[]).await? {
        let (id, connection): (Uuid, Option<Uuid>) = (row.get(0), row.get(1));
        for (what, is_there) in [("connect_time", row.get::<_, bool>(2)), ("disconnect_time", row.get(3))] {
            assert!(!is_there || kept.insert((connection.unwrap_or(id), what)), "{id} is there twice");
        }
    }
    let acknowledged: HashSet<_> = acknowledged.iter().copied().collect();
    let mut count = 0;
    for report in reports.iter().filter(|report| acknowledged.contains(&id(report))) {
        let key = report["connection_id"].as_str().map_or_else(|| id(report), |id| id.parse().expect("a uuid"));
        let what = if report["connect_time"].is_string() { "connect_time" } else { "disconnect_time" };
        assert!(kept.contains(&(key, what)), "{report} is acknowledged and lost");
        count += 1;
    }
    assert_eq!(count, acknowledged.len(), "only what was sent is acknowledged");
    Ok(())
}

async fn b64_nothing_acknowledged_is_lost_when_postgres_is_killed(stack: &Stack) -> Result<()> {
    let mut agent = stack.connect_left(Role::Agent).await?;
    let (reports, mut sent) = (stream(), 0);
    for end in [900, 1800] {
        send(&mut agent, &reports, &mut sent, end).await?;
        // The stream goes on while Postgres dies, and after that.
        let (killed, sent_on) =
            tokio::join!(stack.cluster().stop(Shutdown::Kill), report(&mut agent, &reports, &mut sent, 180));
        killed.and(sent_on)?;
        report(&mut agent, &reports, &mut sent, 20).await?;
        assert!(agent.acknowledged().len() < sent, "the last of them are not written");
        stack.cluster().start_again().await?;
        assert_kept(stack, &reports, &agent.acknowledged()).await?;
    }
    send(&mut agent, &reports, &mut sent, STREAM).await?;
    agent.expect_acknowledged(&ids(&reports)).await;
    agent.assert_nothing_else();
    assert_kept(stack, &reports, &agent.acknowledged()).await?;
    assert_eq!(rows(stack).await? as usize, STREAM / 3 * 2);
    Ok(())
}

async fn b64_nothing_acknowledged_is_lost_when_the_proxy_is_killed(stack: &Stack) -> Result<()> {
    let identity = stack.create(Role::Agent).await?;
    let mut agent = stack.left().connect(&identity).await?;
    let (reports, mut sent) = (stream(), 0);
    send(&mut agent, &reports, &mut sent, 1500).await?;
    stack.left().kill().await?;
    agent.expect_end().await;
    let acknowledged = agent.acknowledged();
    assert!(acknowledged.len() < sent, "it was killed in the middle");
    assert_kept(stack, &reports, &acknowledged).await?;

    let known: HashSet<_> = acknowledged.iter().copied().collect();
    let rest: Vec<_> = reports.iter().filter(|report| !known.contains(&id(report))).cloned().collect();
    let mut agent = stack.right().connect(&identity).await?;
    for frame in rest.chunks(20) {
        agent.report(frame).await?;
    }
    agent.expect_acknowledged(&ids(&rest)).await;
    assert_kept(stack, &reports, &ids(&reports)).await?;
    assert_eq!(rows(stack).await? as usize, STREAM / 3 * 2);
    Ok(())
}
