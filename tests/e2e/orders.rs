//! B61 and B63: writes end in the same row, in whatever order they arrive, split into whatever calls, and repeated.

use std::{
    fmt::Debug,
    time::{Duration, SystemTime},
};

use anyhow::Result;
use proptest::{collection::vec, option, prelude::*, strategy::ValueTree, test_runner::TestRunner};
use serde_json::{Value, json};
use tailnet_harness::{Stack, stack::Setup};
use tailnet_wire::Role;
use uuid::Uuid;

tests_on! {
    no_proxy: Setup::of(0) =>
        b61_any_order_of_writes_ends_the_same,
        b63_any_order_split_and_repetition_ends_the_same;
}

/// How many sets of writes are tried.
const SETS: usize = 60;

/// What one write says of an agent: seconds, and one of few coordinators.
type Write = (Option<u64>, Option<u64>, Option<u64>, Option<u128>);

async fn b61_any_order_of_writes_ends_the_same(stack: &Stack) -> Result<()> {
    let time = || option::of(0..5_u64);
    let writes = vec((time(), time(), time(), option::of(1..4_u128)), 1..6);
    let row = "SELECT to_jsonb(a) - 'updated_at' FROM tailnet.agent_connections a WHERE agent_id = $1";
    let mut runner = TestRunner::deterministic();
    for _ in 0..SETS {
        let agent = stack.create(Role::Agent).await?.id;
        let write = async |call: &[Write]| {
            let at = |part: fn(&Write) -> Option<u64>| -> Vec<Option<SystemTime>> {
                let time = |second| SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + second);
                call.iter().map(|write| part(write).map(time)).collect()
            };
            let coordinators: Vec<_> = call.iter().map(|write| write.3.map(Uuid::from_u128)).collect();
            let (first, last, gone) = (at(|write| write.0), at(|write| write.1), at(|write| write.2));
            let update = "SELECT count(*) FROM tailnet.update_agent_connections($1, $2, $3, $4, $5)";
            let agents = std::vec![agent; call.len()];
            stack.operator.value::<i64>(update, &[&agents, &first, &last, &gone, &coordinators]).await.map(drop)
        };
        assert_same_end(stack, &writes, &mut runner, write, row, agent).await?;
    }
    Ok(())
}

async fn b63_any_order_split_and_repetition_ends_the_same(stack: &Stack) -> Result<()> {
    let agent = stack.create(Role::Agent).await?.id;
    let row = "SELECT to_jsonb(l) - 'id' FROM tailnet_private.connection_logs l WHERE connection_id = $1";
    let write = async |call: &[Value]| {
        let upsert = "SELECT tailnet.upsert_connection_logs($1::text::json)";
        stack.operator.value::<i32>(upsert, &[&json!(call).to_string()]).await.map(drop)
    };
    let mut runner = TestRunner::deterministic();
    for _ in 0..SETS {
        let connection = Uuid::new_v4();
        let writes = vec(event(agent, connection), 1..6);
        assert_same_end(stack, &writes, &mut runner, write, row, connection).await?;
    }
    Ok(())
}

/// Makes a set of writes, does them in several orders, and compares the rows that `row` finds by `id` afterwards.
async fn assert_same_end<T: Clone + Debug>(
    stack: &Stack,
    writes: &impl Strategy<Value = Vec<T>>,
    runner: &mut TestRunner,
    write: impl AsyncFn(&[T]) -> Result<()>,
    row: &str,
    id: Uuid,
) -> Result<()> {
    let writes = writes.new_tree(runner).expect("no filter").current();
    let mut end = None;
    for calls in orders(&writes, runner) {
        stack.operator.sql.batch_execute("BEGIN").await?;
        for call in &calls {
            write(call).await?;
        }
        let row: Value = stack.operator.value(row, &[&id]).await?;
        stack.operator.sql.batch_execute("ROLLBACK").await?;
        assert_eq!(*end.get_or_insert_with(|| row.clone()), row, "{writes:?} as {calls:?}");
    }
    Ok(())
}

/// All writes in one call, in order; and in random orders, with repeats, and split into random calls.
fn orders<T: Clone>(writes: &[T], runner: &mut TestRunner) -> Vec<Vec<Vec<T>>> {
    let count = writes.len();
    let order = vec(0..count, 0..count + 1).prop_flat_map(move |repeats| {
        let all: Vec<usize> = (0..count).chain(repeats).collect();
        let cuts = vec(any::<bool>(), all.len());
        (Just(all).prop_shuffle(), cuts)
    });
    let mut orders = Vec::from([Vec::from([writes.to_vec()])]);
    for _ in 0..5 {
        let (order, cuts) = order.new_tree(runner).expect("no filter").current();
        let mut calls: Vec<Vec<T>> = Vec::new();
        for (index, cut) in order.into_iter().zip(cuts) {
            match calls.last_mut() {
                Some(call) if !cut => call.push(writes[index].clone()),
                _ => calls.push(Vec::from([writes[index].clone()])),
            }
        }
        orders.push(calls);
    }
    orders
}

/// An event of a connection, with few values, so that they often disagree and often agree.
fn event(agent: Uuid, connection: Uuid) -> impl Strategy<Value = Value> {
    let few = || option::of(0..3_u32);
    let times = (0..3_u8, 0..4_u32, 0..4_u32);
    (times, few(), few(), few(), few(), few(), few(), any::<(bool, bool)>()).prop_map(
        move |((which, connect, gone), code, reason, ip, user, app, owner, (ssh, empty))| {
            let mut event = serde_json::Map::new();
            let mut put = |field: &str, value: Option<Value>| {
                event.extend(value.map(|value| (field.to_owned(), value)));
            };
            let time = |minute: u32| json!(format!("2026-01-01T00:{minute:02}:00Z"));
            put("agent_id", Some(json!(agent)));
            put("connection_id", Some(json!(connection)));
            put("type", Some(json!(if ssh { "ssh" } else { "vscode" })));
            put("connect_time", (which != 1).then(|| time(connect)));
            put("disconnect_time", (which != 0).then(|| time(gone)));
            put("disconnect_reason", reason.filter(|_| which != 0).map(|n| json!(format!("reason {n}"))));
            put("code", code.map(|n| json!(n)));
            put("ip", ip.map(|n| json!(format!("10.0.0.{n}"))));
            put("user_id", user.map(|n| json!(Uuid::from_u128(n.into()))));
            put("slug_or_port", app.map(|n| json!(format!("app {n}"))));
            put("owner", owner.map(|n| json!(format!("owner {n}"))));
            put("user_agent", owner.map(|n| json!(format!("agent {}", 3 - n))));
            put("workspace_name", user.map(|n| json!(format!("workspace {n}"))));
            put("workspace_id", empty.then(|| json!(Uuid::nil())));
            put("agent_name", empty.then(|| json!("")));
            Value::Object(event)
        },
    )
}
