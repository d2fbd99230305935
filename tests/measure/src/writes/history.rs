//! Phase: years of connection logs.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde_json::Value;
use tokio_postgres::Client;

use crate::{
    common::{figure::Figure, progress::Progress},
    writes::world::World,
};

/// Rows, spread evenly over two years.
pub const ROWS: i64 = 10_000_000;
/// Agents that they are of.
pub const AGENTS: usize = 5_000;
/// The first day.
pub const FIRST: &str = "2024-01-01 00:00Z";
/// Seconds from the first row to the last one: two years.
const SPAN: f64 = 2.0 * 365.0 * 86_400.0;
/// How often a query is run, each time for another agent or day.
const RUNS: usize = 5;

/// What the table is like.
#[derive(Debug, Serialize)]
pub struct History {
    pub rows: i64,
    /// Bytes of it without its indexes.
    pub table_bytes: i64,
    /// Name and bytes of each index.
    pub indexes: Vec<(String, i64)>,
    /// The last 100 connections of an agent.
    pub agent: Query,
    /// The connections of a day.
    pub day: Query,
    /// `drop_connection_logs` of the oldest month.
    pub dropped: Dropped,
}

/// How a query went.
#[derive(Debug, Serialize)]
pub struct Query {
    pub sql: String,
    pub rows: Figure,
    pub milliseconds: Figure,
    /// Pages that it looked at.
    pub pages: Figure,
    /// The nodes of its plan, from the top.
    pub plan: Vec<String>,
}

/// What dropping cost.
#[derive(Debug, Serialize)]
pub struct Dropped {
    pub rows: i64,
    pub seconds: f64,
    /// Bytes of WAL for each row.
    pub wal_a_row: f64,
}

/// Rows in the order of time, of agents in no order.
const FILL: &str = "
    INSERT INTO tailnet_private.connection_logs (
        network_id, connection_id, agent_id, agent_name, workspace_id, workspace_name, owner, type, code, ip, user_agent,
        user_id, slug_or_port, connect_time, disconnect_time, disconnect_code, disconnect_reason)
    SELECT $1::uuid, gen_random_uuid(), ($2::uuid[])[a], 'main', ($2::uuid[])[a], 'workspace-' || a,
           'developer-' || a % 1000, CASE WHEN r < 0.7 THEN 'ssh' WHEN r < 0.9 THEN 'vscode' ELSE 'workspace_app' END, NULL,
           '10.0.0.0'::inet + a, 'OpenSSH_9.6p1 Ubuntu-3ubuntu13.5', ($2::uuid[])[a], CASE WHEN r >= 0.9 THEN 'ide' END,
           at, at + r * interval '8 hours', 0, 'the client closed the connection'
    FROM (SELECT 1 + (random() * ($3::integer - 1))::integer AS a, random() AS r,
                 to_timestamp($4::float8 + n * $5::float8) AS at
          FROM generate_series($6::bigint, $7::bigint) n) s";

/// What an index is made again with, and what must be dropped for that.
const INDEXES: &str = "
    SELECT CASE WHEN c.oid IS NULL THEN format('DROP INDEX tailnet_private.%I', r.relname)
                ELSE format('ALTER TABLE tailnet_private.connection_logs DROP CONSTRAINT %I', c.conname) END,
           CASE WHEN c.oid IS NULL THEN pg_get_indexdef(i.indexrelid)
                ELSE format('ALTER TABLE tailnet_private.connection_logs ADD CONSTRAINT %I %s', c.conname,
                            pg_get_constraintdef(c.oid)) END
    FROM pg_index i
    JOIN pg_class r ON r.oid = i.indexrelid
    LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid
    WHERE i.indrelid = 'tailnet_private.connection_logs'::regclass";

/// Fills the table, and measures it.
/// Fails when Postgres refuses, or a query scans all of the table.
pub async fn run(world: &World, progress: &Progress) -> Result<History> {
    fill(world, progress).await?;
    progress.step("queries");
    let sql = &world.meter.sql;
    let sizes = sql
        .query(
            "SELECT r.relname::text, pg_relation_size(r.oid) FROM pg_class r JOIN pg_index i ON i.indexrelid = r.oid
             WHERE i.indrelid = 'tailnet_private.connection_logs'::regclass ORDER BY 2 DESC",
            &[],
        )
        .await?;
    let table = sql
        .query_one(
            "SELECT pg_relation_size('tailnet_private.connection_logs'), count(*) FROM tailnet_private.connection_logs",
            &[],
        )
        .await?;
    let reader = world.database.connect().await?;
    reader.batch_execute("SET ROLE tailnet_reader; SET timezone = 'UTC'").await?;
    let agents = (0..RUNS).map(|run| {
        let agent = world.agents[run * AGENTS / RUNS];
        format!("SELECT * FROM tailnet.connection_logs WHERE agent_id = '{agent}' ORDER BY started_at DESC LIMIT 100")
    });
    let days = (0..RUNS).map(|run| {
        let day = format!("timestamptz '{FIRST}' + interval '{} days'", 100 + run * 100);
        format!("SELECT * FROM tailnet.connection_logs WHERE started_at >= {day} AND started_at < {day} + interval '1 day' ORDER BY started_at")
    });
    let agent = explain(&reader, agents.collect()).await?;
    let day = explain(&reader, days.collect()).await?;
    progress.step("dropping a month");
    Ok(History {
        rows: table.get(1),
        table_bytes: table.get(0),
        indexes: sizes.iter().map(|row| (row.get(0), row.get(1))).collect(),
        agent,
        day,
        dropped: drop_month(world).await?,
    })
}

async fn fill(world: &World, progress: &Progress) -> Result<()> {
    let client = world.database.connect().await?;
    // A bulk load: neither what it writes nor how long it takes is measured.
    world.meter.set("max_wal_size", "16GB").await?;
    world.meter.start_over(false).await?;
    client
        .batch_execute(
            "SET synchronous_commit = off; SET session_replication_role = replica; SET maintenance_work_mem = '1GB';
             TRUNCATE tailnet_private.connection_logs;
             ALTER TABLE tailnet_private.connection_logs SET (autovacuum_enabled = off)",
        )
        .await?;
    let indexes = client.query(INDEXES, &[]).await?;
    for index in &indexes {
        client.batch_execute(index.get(0)).await.context("cannot drop an index")?;
    }
    let insert = client.prepare(FILL).await?;
    let agents = &world.agents[..AGENTS];
    let count = i32::try_from(AGENTS)?;
    let epoch = "SELECT extract(epoch FROM $1::text::timestamptz)::float8";
    let first: f64 = client.query_one(epoch, &[&FIRST]).await?.get(0);
    let part = ROWS / PARTS as i64;
    for begin in (0..ROWS).step_by(usize::try_from(part)?) {
        progress.step("filling the connection log");
        client
            .execute(
                &insert,
                &[&world.network, &agents, &count, &first, &(SPAN / ROWS as f64), &begin, &(begin + part - 1)],
            )
            .await
            .context("cannot fill the connection log")?;
    }
    for index in &indexes {
        progress.step("making its indexes");
        client.batch_execute(index.get(1)).await.context("cannot make an index")?;
    }
    client.batch_execute("ALTER TABLE tailnet_private.connection_logs RESET (autovacuum_enabled)").await?;
    client.batch_execute("VACUUM (ANALYZE) tailnet_private.connection_logs").await?;
    world.meter.start_over(true).await
}

const PARTS: usize = 20;

pub const STEPS: usize = PARTS + 4 + 2;

/// Runs each of these statements, which differ in values only.
async fn explain(client: &Client, statements: Vec<String>) -> Result<Query> {
    let (mut rows, mut milliseconds, mut pages, mut nodes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for sql in &statements {
        let explained = client.query_one(&format!("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}"), &[]).await?;
        let explained: Value = explained.get(0);
        let plan = &explained[0]["Plan"];
        let number = |value: &Value| value.as_f64().unwrap_or_default();
        rows.push(number(&plan["Actual Rows"]));
        milliseconds.push(number(&explained[0]["Execution Time"]));
        pages.push(number(&plan["Shared Hit Blocks"]) + number(&plan["Shared Read Blocks"]));
        nodes = walk(plan);
        ensure!(
            !nodes.iter().any(|node| node.contains("Seq Scan") && node.contains("connection_logs")),
            "{sql} scans all of the table: {nodes:?}"
        );
    }
    Ok(Query {
        sql: statements.into_iter().next().unwrap_or_default(),
        rows: Figure::of(rows),
        milliseconds: Figure::of(milliseconds),
        pages: Figure::of(pages),
        plan: nodes,
    })
}

/// Nodes with what they read, from the top.
fn walk(plan: &Value) -> Vec<String> {
    let text = |field: &str| plan[field].as_str();
    let of = text("Index Name").or(text("Relation Name")).map(|name| format!(" on {name}")).unwrap_or_default();
    let below = plan["Plans"].as_array().into_iter().flatten().flat_map(walk);
    [format!("{}{of}", text("Node Type").unwrap_or_default())].into_iter().chain(below).collect()
}

async fn drop_month(world: &World) -> Result<Dropped> {
    world.meter.start_over(true).await?;
    let (wal, began) = (world.meter.wal().await?, Instant::now());
    let sql = "SELECT tailnet.drop_connection_logs($1::text::timestamptz + interval '1 month')";
    let rows: i64 = world.meter.sql.query_one(sql, &[&FIRST]).await?.get(0);
    let seconds = began.elapsed().as_secs_f64();
    let wal_a_row = (world.meter.wal().await? - wal) / rows as f64;
    Ok(Dropped { rows, seconds, wal_a_row })
}
