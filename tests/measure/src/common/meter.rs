//! What Postgres says of its own work.

use anyhow::Result;
use tailnet_harness::{database::Database, deadline::until};
use tokio_postgres::Client;

/// A superuser's session that looks on.
#[derive(Debug)]
pub struct Meter {
    /// For what only one benchmark asks.
    pub sql: Client,
}

/// Rows of `agent_connections` that were updated so far, and how many of those HOT.
#[derive(Debug, Clone, Copy)]
pub struct Updates {
    /// All.
    pub all: i64,
    /// Those that left the indexes alone.
    pub hot: i64,
}

impl Meter {
    pub async fn open(database: &Database) -> Result<Self> {
        Ok(Self { sql: database.connect().await? })
    }

    /// Changes a setting of the cluster.
    pub async fn set(&self, name: &str, value: &str) -> Result<()> {
        self.sql.batch_execute(&format!("ALTER SYSTEM SET {name} = '{value}'")).await?;
        self.sql.execute("SELECT pg_reload_conf()", &[]).await?;
        until(&format!("{name} is {value}"), async || {
            Ok(self.sql.query_one(&format!("SHOW {name}"), &[]).await?.get::<_, &str>(0) == value)
        })
        .await
    }

    /// Switches `full_page_writes` and makes a checkpoint, after which each page is logged whole once if it is on.
    pub async fn start_over(&self, full_page_writes: bool) -> Result<()> {
        let value = if full_page_writes { "on" } else { "off" };
        self.set("full_page_writes", value).await?;
        // The checkpointer is who puts it in force, and says so with its checkpoint.
        until("full_page_writes is in force", async || {
            self.sql.batch_execute("CHECKPOINT").await?;
            let row = self.sql.query_one("SELECT full_page_writes FROM pg_control_checkpoint()", &[]).await?;
            Ok(row.get::<_, bool>(0) == full_page_writes)
        })
        .await
    }

    /// Bytes of WAL that were written since the cluster was made.
    pub async fn wal(&self) -> Result<f64> {
        let sql = "SELECT (pg_current_wal_insert_lsn() - '0/0')::float8";
        Ok(self.sql.query_one(sql, &[]).await?.get(0))
    }

    /// Updates of `agent_connections`. A backend reports them when it ends, or is idle for some seconds.
    pub async fn updates(&self) -> Result<Updates> {
        let sql = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables
                   WHERE relid = 'tailnet_private.agent_connections'::regclass";
        let row = self.sql.query_one(sql, &[]).await?;
        Ok(Updates { all: row.get(0), hot: row.get(1) })
    }

    /// Waits until at least this many updates are reported.
    pub async fn until_updates(&self, all: i64) -> Result<Updates> {
        until(&format!("{all} updates are reported"), async || Ok(self.updates().await?.all >= all)).await?;
        self.updates().await
    }

    /// Calls of `update_agent_connections` by each of these roles so far. Each call is a transaction.
    /// Fails when `pg_stat_statements` is not preloaded.
    pub async fn calls(&self, roles: &[String]) -> Result<Vec<i64>> {
        let sql = "SELECT (SELECT coalesce(sum(s.calls), 0)::bigint FROM pg_stat_statements s
                           JOIN pg_roles r ON r.oid = s.userid
                           WHERE r.rolname = asked.role AND s.query LIKE '%update_agent_connections%')
                   FROM unnest($1::text[]) WITH ORDINALITY asked(role, place) ORDER BY place";
        Ok(self.sql.query(sql, &[&roles]).await?.iter().map(|row| row.get(0)).collect())
    }
}
