//! The statements that the proxies ran, counted by Postgres itself.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Serialize;
use tokio_postgres::Client;

/// Calls by role and text, up to a moment or between two.
#[derive(Debug, Clone, Default)]
pub struct Statements(BTreeMap<(String, String), i64>);

/// How many statements there were.
#[derive(Debug, Clone, Serialize)]
pub struct Count {
    /// All.
    pub all: i64,
    /// Of these the recurring ones, which go on whatever happens: heartbeats of proxies, their reaping, and the liveness of agents.
    pub recurring: i64,
    /// By text, the most frequent first.
    pub by_text: Vec<(String, i64)>,
}

/// All statements, also those that do nothing but begin and commit.
const COUNT: &str = "
    SELECT r.rolname::text, s.query, sum(s.calls)::bigint
    FROM pg_stat_statements s
    JOIN pg_roles r ON r.oid = s.userid
    WHERE s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
    GROUP BY 1, 2";

/// What the recurring ones call.
const RECURRING: [&str; 3] = ["heartbeat_coordinator", "tailnet.reap", "update_agent_connections"];

impl Statements {
    /// Counts now.
    /// Fails when `pg_stat_statements` is not preloaded.
    pub async fn count(sql: &Client) -> Result<Self> {
        let rows = sql.query(COUNT, &[]).await.context("pg_stat_statements must be preloaded")?;
        Ok(Self(rows.iter().map(|row| ((row.get(0), row.get(1)), row.get(2))).collect()))
    }

    /// Texts and calls of one role.
    pub fn of<'a>(&'a self, role: &'a str) -> impl Iterator<Item = (&'a str, i64)> {
        self.0.iter().filter(move |((of, _), _)| of == role).map(|((_, text), calls)| (text.as_str(), *calls))
    }

    /// What these roles ran since an earlier moment.
    pub fn since(&self, earlier: &Self, roles: &[&str]) -> Count {
        let mut by_text = BTreeMap::<&str, i64>::new();
        for ((role, text), calls) in &self.0 {
            let before = earlier.0.get(&(role.clone(), text.clone())).copied().unwrap_or(0);
            if roles.contains(&role.as_str()) && *calls > before {
                *by_text.entry(text).or_default() += calls - before;
            }
        }
        let recurring = by_text.iter().filter(|(text, _)| RECURRING.iter().any(|part| text.contains(part)));
        let (all, recurring) = (by_text.values().sum(), recurring.map(|(_, calls)| calls).sum());
        let mut by_text: Vec<_> = by_text.into_iter().map(|(text, calls)| (text.to_owned(), calls)).collect();
        by_text.sort_by_key(|(_, calls)| -calls);
        Count { all, recurring, by_text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_roles_ran_in_between_counts() {
        let at = |rows: &[(&str, &str, i64)]| {
            Statements(
                rows.iter().map(|(role, text, calls)| (((*role).to_owned(), (*text).to_owned()), *calls)).collect(),
            )
        };
        let before = at(&[("a", "SELECT bind", 5), ("a", "SELECT idle", 2)]);
        let after = at(&[
            ("a", "SELECT bind", 7),
            ("a", "SELECT idle", 2),
            ("b", "SELECT bind", 4),
            ("b", "SELECT tailnet.heartbeat_coordinator($1)", 1),
            ("c", "SELECT bind", 9),
        ]);
        let count = after.since(&before, &["a", "b"]);
        assert_eq!((count.all, count.recurring), (7, 1));
        assert_eq!(count.by_text[0], ("SELECT bind".to_owned(), 6));
        assert_eq!(count.by_text.len(), 2);
    }
}
