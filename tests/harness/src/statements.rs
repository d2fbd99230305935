//! Which statements ran, counted by Postgres itself.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use crate::{deadline::until, proxy::Proxy, stack::Stack};

/// How often each proxy has called each statement. Heartbeats and reaping are left out, because they never stop.
#[derive(Debug, Default)]
pub struct Statements(BTreeMap<(String, String), i64>);

/// Postgres counts a statement before it commits. A later change in the same network has to wait for that commit.
const COUNT: &str = "
    SELECT r.rolname::text, s.query, sum(s.calls)::bigint
    FROM pg_stat_statements s
    JOIN pg_roles r ON r.oid = s.userid
    JOIN pg_database d ON d.oid = s.dbid
    WHERE d.datname = current_database() AND s.query NOT LIKE '%heartbeat_coordinator%'
      AND s.query NOT LIKE '%tailnet.reap(%'
    GROUP BY 1, 2";

impl Statements {
    pub async fn count(stack: &Stack) -> Result<Self> {
        let rows = stack.operator.sql.query(COUNT, &[]).await.context("pg_stat_statements must be preloaded")?;
        Ok(Self(rows.iter().map(|row| ((row.get(0), row.get(1)), row.get(2))).collect()))
    }

    /// What a proxy ran between `before` and now: text and number of calls.
    pub fn since(&self, before: &Self, proxy: &Proxy) -> Vec<(&str, i64)> {
        let of_proxy = self.0.iter().filter(|((role, _), _)| role == proxy.role());
        let calls = of_proxy.map(|(key, calls)| (key.1.as_str(), calls - before.0.get(key).unwrap_or(&0)));
        calls.filter(|(_, calls)| *calls > 0).collect()
    }

    /// Waits until a proxy has called a function since.
    pub async fn until_called(&self, stack: &Stack, proxy: &Proxy, function: &str) -> Result<()> {
        until(&format!("{} has called {function}", proxy.name()), async || {
            let now = Self::count(stack).await?;
            Ok(now.since(self, proxy).iter().any(|(query, _)| query.contains(function)))
        })
        .await
    }
}
