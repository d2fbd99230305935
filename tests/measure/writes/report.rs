//! All figures: as Markdown and as JSON.

use std::{fmt, fs, path::Path};

use anyhow::{Context, Result};
use serde::Serialize;
use tailnet_measure::{figure::grouped, machine::Machine};

use crate::{
    contest::Entry,
    fleet::{self, Fleet},
    heartbeats,
    history::{self, History, Query},
    logs,
    steady::{BEATS, INTERVAL, Steady},
    world::{AGENTS, BATCH},
};

/// What one run found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// On what.
    pub machine: Machine,
    /// How often each method was measured.
    pub rounds: usize,
    /// Ways to write heartbeats.
    pub heartbeats: Vec<Entry>,
    /// Ways to write events of connections.
    pub logs: Vec<Entry>,
    /// Heartbeats of all agents with `full_page_writes` off, and on.
    pub steady: [Steady; 2],
    /// Years of connection logs.
    pub history: History,
    /// Real agents on real proxies, if the proxy writes heartbeats.
    pub fleet: Option<Fleet>,
}

impl Report {
    /// Writes it for machines.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_json(&self, path: &Path) -> Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let text = serde_json::to_string_pretty(self).context("the report has no JSON")?;
        fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { date, commit, processor, cores, memory, kernel, load, postgres, durability } = &self.machine;
        writeln!(f, "## Writes: agent connections and connection logs\n")?;
        writeln!(f, "`make bench-writes`, {date}, commit {commit}.")?;
        writeln!(f, "{processor}, {cores} cores, {memory:.0} GiB, Linux {kernel}; load average at the start {load}.")?;
        writeln!(f, "Postgres {postgres} with its defaults: {durability}. Client and server share the cores.\n")?;
        writeln!(
            f,
            "Figures are the median of {} interleaved rounds, with the least and the most in brackets.",
            self.rounds
        )?;
        writeln!(
            f,
            "*×* is rows a second against the single-row upsert of the same round. *WAL* is bytes a row, commits included,"
        )?;
        writeln!(
            f,
            "after a checkpoint; *fpw* is `full_page_writes`, with which each page is logged whole once after a checkpoint.\n"
        )?;
        writeln!(f, "### Heartbeats\n")?;
        writeln!(
            f,
            "{} heartbeats of as many agents, out of {}, by one connection; each call or transaction is a commit.\n",
            grouped(heartbeats::ROWS as f64, 0),
            grouped(AGENTS as f64, 0)
        )?;
        contest(f, &self.heartbeats)?;
        writeln!(f, "\n### Connection logs\n")?;
        writeln!(
            f,
            "Connects of {} new connections and then their disconnects, by one connection, into a table of over {} rows. Only",
            grouped(logs::CONNECTIONS as f64, 0),
            grouped(logs::STOCK as f64, 0)
        )?;
        writeln!(f, "the function checks its events and merges repeats within a batch.\n")?;
        contest(f, &self.logs)?;
        self.steady(f)?;
        history(f, &self.history)?;
        match &self.fleet {
            Some(fleet) => agents(f, fleet),
            None => Ok(()),
        }
    }
}

fn contest(f: &mut fmt::Formatter<'_>, entries: &[Entry]) -> fmt::Result {
    writeln!(f, "| | × | rows a second | WAL, fpw off | × with fpw off | WAL, fpw on |\n|---|---|---|---|---|---|")?;
    for Entry { method, pages_off, pages_on } in entries {
        writeln!(
            f,
            "| {method} | {} | {} | {} | {} | {} |",
            pages_on.times_first.shown(1),
            pages_on.rows_a_second.shown(0),
            pages_off.wal_a_row.shown(0),
            pages_off.times_first.shown(1),
            pages_on.wal_a_row.shown(0)
        )?;
    }
    Ok(())
}

impl Report {
    fn steady(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = INTERVAL.as_secs();
        writeln!(f, "\n### Steady state at the database\n")?;
        writeln!(
            f,
            "{} agents that beat every {seconds} s, for {} s, in batches of {BATCH} spread evenly, by two connections as of two proxies.",
            grouped(AGENTS as f64, 0),
            seconds * u64::from(BEATS)
        )?;
        writeln!(
            f,
            "WAL is everything that the cluster wrote, autovacuum included; in brackets by interval. With fpw on the first"
        )?;
        writeln!(
            f,
            "interval after a checkpoint logs each page of the table whole. CPU is of the backends, as a share of one core.\n"
        )?;
        writeln!(
            f,
            "| | HOT | WAL a heartbeat | commits a second, each proxy | CPU, each proxy |\n|---|---|---|---|---|"
        )?;
        for Steady { full_page_writes, hot, wal_a_heartbeat, wal_by_interval, commits_a_second, cpu, .. } in
            &self.steady
        {
            writeln!(
                f,
                "| fpw {} | {:.2} % | {wal_a_heartbeat:.0} ({:.0}–{:.0}) | {} | {} |",
                if *full_page_writes { "on" } else { "off" },
                hot * 100.0,
                wal_by_interval.min,
                wal_by_interval.max,
                each(commits_a_second, |value| format!("{value:.2}")),
                each(cpu, |value| format!("{:.1} %", value * 100.0))
            )?;
        }
        writeln!(f, "| target | ≥ 95 % | ≤ 160 with fpw off | ≤ 3 | |")
    }
}

fn history(f: &mut fmt::Formatter<'_>, history: &History) -> fmt::Result {
    let megabytes = |bytes: i64| grouped(bytes as f64 / 1e6, if bytes < 10_000_000 { 1 } else { 0 });
    let indexes = history.indexes.iter().map(|(name, bytes)| format!("`{name}` {} MB", megabytes(*bytes)));
    let indexes: Vec<_> = indexes.collect();
    writeln!(f, "\n### Ten million connections\n")?;
    writeln!(
        f,
        "{} rows over two years, of {} agents: {} MB and indexes of {}. Each query five times, for other agents and days,",
        grouped(history.rows as f64, 0),
        grouped(history::AGENTS as f64, 0),
        megabytes(history.table_bytes),
        indexes.join(", ")
    )?;
    writeln!(f, "through the view as `tailnet_reader`. No plan scans the whole table; the run fails if one does.\n")?;
    writeln!(f, "| | rows | ms | pages | plan, from the top |\n|---|---|---|---|---|")?;
    for (what, Query { rows, milliseconds, pages, plan, .. }) in
        [("the last 100 connections of an agent", &history.agent), ("the connections of a day", &history.day)]
    {
        let (rows, milliseconds, pages) = (rows.shown(0), milliseconds.shown(2), pages.shown(0));
        writeln!(f, "| {what} | {rows} | {milliseconds} | {pages} | {} |", plan.join(" → "))?;
    }
    writeln!(
        f,
        "\n`tailnet.drop_connection_logs` of the oldest month: {} rows in {:.1} s, {:.0} bytes of WAL a row (fpw on).",
        grouped(history.dropped.rows as f64, 0),
        history.dropped.seconds,
        history.dropped.wal_a_row
    )
}

fn agents(f: &mut fmt::Formatter<'_>, fleet: &Fleet) -> fmt::Result {
    writeln!(f, "\n### Agents on proxies\n")?;
    writeln!(
        f,
        "{} agents on two real proxies with default options, connected within {:.0} s by two load processes on the same",
        grouped(AGENTS as f64, 0),
        fleet.connect_seconds
    )?;
    writeln!(f, "machine, then observed for {} s, with fpw off.\n", fleet::SPAN.as_secs())?;
    writeln!(f, "| | heartbeats | HOT | WAL a heartbeat | commits a second, each proxy |\n|---|---|---|---|---|")?;
    writeln!(
        f,
        "| fpw off | {} | {:.2} % | {:.0} | {} |\n| target | | ≥ 95 % | ≤ 160 | ≤ 3 |",
        grouped(fleet.heartbeats as f64, 0),
        fleet.hot * 100.0,
        fleet.wal_a_heartbeat,
        each(&fleet.commits_a_second, |value| format!("{value:.2}"))
    )
}

fn each(values: &[f64], shown: impl Fn(&f64) -> String) -> String {
    values.iter().map(shown).collect::<Vec<_>>().join(", ")
}
