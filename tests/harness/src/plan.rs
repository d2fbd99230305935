//! The plans of the statements inside functions, as `auto_explain` logs them.

use std::fmt;

use anyhow::{Context, Result};
use serde_json::Value;
use tailnet_tools::cluster;
use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, Client, SimpleQueryMessage};

use crate::stack::Stack;

/// A superuser's session that hears the plan of every statement it causes, however deep.
#[derive(Debug)]
pub struct Explainer {
    client: Client,
    messages: mpsc::UnboundedReceiver<AsyncMessage>,
}

/// One node of a plan, with the nodes below it.
#[derive(Debug, Clone)]
pub struct Plan(Value);

const SETTINGS: &str = "
    LOAD 'auto_explain';
    SET auto_explain.log_min_duration = 0;
    SET auto_explain.log_nested_statements = on;
    SET auto_explain.log_analyze = on;
    SET auto_explain.log_timing = off;
    SET auto_explain.log_format = json;
    SET client_min_messages = log";

impl Explainer {
    pub async fn open(stack: &Stack) -> Result<Self> {
        let (client, messages) = cluster::connect_hearing(stack.database().superuser()).await?;
        client.batch_execute(SETTINGS).await.context("cannot load auto_explain")?;
        Ok(Self { client, messages })
    }

    /// Runs a statement, and returns the first column of its rows, and the plans of it and of all that it ran.
    pub async fn run(&mut self, sql: &str) -> Result<(Vec<String>, Vec<Plan>)> {
        let answer = self.client.simple_query(sql).await.with_context(|| format!("{sql} failed"))?;
        let first = |message: &SimpleQueryMessage| match message {
            SimpleQueryMessage::Row(row) => Some(row.try_get(0).ok().flatten().unwrap_or_default().to_owned()),
            _ => None,
        };
        let rows = answer.iter().filter_map(first).collect();
        let mut plans = Vec::new();
        // Notices come before the answer of their statement.
        while let Ok(message) = self.messages.try_recv() {
            let AsyncMessage::Notice(notice) = message else { continue };
            if let Some((_, plan)) = notice.message().split_once("plan:\n") {
                let mut plan: Value = serde_json::from_str(plan).context("a plan is not JSON")?;
                plans.push(Plan(plan["Plan"].take()));
            }
        }
        Ok((rows, plans))
    }
}

impl Plan {
    pub fn touches(&self, tables: &[&str]) -> bool {
        self.relation().is_some_and(|relation| tables.contains(&relation))
            || self.below().any(|node| node.touches(tables))
    }

    /// The topmost node that costs more the larger one of these tables is: one that reads it other than by the keys that
    /// are asked for, or that joins it as a whole.
    pub fn grows_with(&self, tables: &[&str]) -> Option<Self> {
        let is_one = self.relation().is_some_and(|relation| tables.contains(&relation));
        let driven_by_keys = match self.kind() {
            "Hash Join" | "Merge Join" => !self.touches(tables),
            // It writes the rows that the nodes below find.
            "ModifyTable" => true,
            _ if !is_one => true,
            "Bitmap Heap Scan" => self.below().all(|bitmap| bitmap.has_keys()),
            _ => self.has_keys(),
        };
        if driven_by_keys { self.below().find_map(|node| node.grows_with(tables)) } else { Some(self.clone()) }
    }

    /// The most rows of these tables that one node read in all its loops.
    pub fn most_rows(&self, tables: &[&str]) -> f64 {
        let own = if self.relation().is_some_and(|relation| tables.contains(&relation)) { self.rows() } else { 0.0 };
        self.below().map(|node| node.most_rows(tables)).fold(own, f64::max)
    }

    /// The rows that it read: those that it passed on, and those that it dropped.
    fn rows(&self) -> f64 {
        let number = |key: &str| self.0[key].as_f64().unwrap_or(0.0);
        let dropped = number("Rows Removed by Filter") + number("Rows Removed by Index Recheck");
        (number("Actual Rows") + dropped) * number("Actual Loops")
    }

    fn has_keys(&self) -> bool {
        match self.kind() {
            "Index Scan" | "Index Only Scan" | "Bitmap Index Scan" => self.0.get("Index Cond").is_some(),
            "BitmapOr" => self.below().all(|bitmap| bitmap.has_keys()),
            "BitmapAnd" => self.below().any(|bitmap| bitmap.has_keys()),
            _ => false,
        }
    }

    fn kind(&self) -> &str {
        self.0["Node Type"].as_str().unwrap_or_default()
    }

    fn relation(&self) -> Option<&str> {
        self.0["Relation Name"].as_str()
    }

    fn below(&self) -> impl Iterator<Item = Self> {
        self.0["Plans"].as_array().into_iter().flatten().cloned().map(Self)
    }
}

/// As EXPLAIN shows it, with the rows that were read.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 1)
    }
}

impl Plan {
    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        let text = |key: &str| self.0[key].as_str();
        write!(f, "{:1$}{2}", "", depth * 2, self.kind())?;
        for (word, key) in [("on", "Relation Name"), ("as", "Alias"), ("using", "Index Name"), ("with", "Index Cond")] {
            if let Some(value) = text(key) {
                write!(f, " {word} {value}")?;
            }
        }
        writeln!(f, ": {} rows", self.rows())?;
        self.below().try_for_each(|node| node.write(f, depth + 1))
    }
}
