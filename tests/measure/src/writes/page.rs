//! The figures for people: a section of docs/performance.md.

use std::fmt::Write as _;

use anyhow::Result;

use crate::{
    common::{figure::grouped, table::table},
    writes::{
        contest::Entry,
        history::{self, History},
        liveness, logs,
        report::Report,
        steady::{INTERVAL, ROUNDS, Steady},
        world::{AGENTS, BATCH},
    },
};

/// All of it.
pub fn page(report: &Report) -> Result<String> {
    let (machine, mut text) = (&report.machine, String::new());
    write!(
        text,
        "## Writes: agent connections and connection logs

`make bench-writes`, {}, commit {}.
{machine} Client and server share the cores.

Figures are the median of {} interleaved rounds, with the least and the most in brackets.
*×* is rows a second against the single-row upsert of the same round. *WAL* is bytes a row, commits included,
after a checkpoint; *fpw* is `full_page_writes`, with which each page is logged whole once after a checkpoint.

### Liveness

{} sightings of as many agents, out of {}, by one connection; each call or transaction is a commit.

{}
### Connection logs

Connects of {} new connections and then their disconnects, by one connection, into a table of over {} rows. Only
the function checks its events and merges repeats within a batch.

{}",
        machine.date,
        machine.commit,
        report.rounds,
        grouped(liveness::ROWS as f64, 0),
        grouped(AGENTS as f64, 0),
        contest(&report.liveness),
        grouped(logs::CONNECTIONS as f64, 0),
        grouped(logs::STOCK as f64, 0),
        contest(&report.logs),
    )?;
    steady(&mut text, &report.steady)?;
    history(&mut text, &report.history)?;
    Ok(text)
}

fn contest(entries: &[Entry]) -> String {
    let row = |Entry { method, pages_off, pages_on }: &Entry| {
        [
            method.clone(),
            pages_on.times_first.shown(1),
            pages_on.rows_a_second.shown(0),
            pages_off.wal_a_row.shown(0),
            pages_off.times_first.shown(1),
            pages_on.wal_a_row.shown(0),
        ]
    };
    table(["", "×", "rows a second", "WAL, fpw off", "× with fpw off", "WAL, fpw on"], entries.iter().map(row))
}

fn steady(text: &mut String, measured: &[Steady]) -> Result<()> {
    let seconds = INTERVAL.as_secs();
    write!(
        text,
        "
### Steady state at the database

{} agents that are seen every {seconds} s, for {} s, in batches of {BATCH} spread evenly, by two connections as of two proxies.
WAL is everything that the cluster wrote, autovacuum included; in brackets by interval. With fpw on the first
interval after a checkpoint logs each page of the table whole. CPU is of the backends, as a share of one core.

",
        grouped(AGENTS as f64, 0),
        seconds * u64::from(ROUNDS)
    )?;
    let each = |values: &[f64], shown: &dyn Fn(f64) -> String| {
        values.iter().map(|value| shown(*value)).collect::<Vec<_>>().join(", ")
    };
    let row = |steady: &Steady| {
        let wal = &steady.wal_by_interval;
        [
            format!("fpw {}", if steady.full_page_writes { "on" } else { "off" }),
            format!("{:.2} %", steady.hot * 100.0),
            format!("{:.0} ({:.0}–{:.0})", steady.wal_a_sighting, wal.min, wal.max),
            each(&steady.commits_a_second, &|value| format!("{value:.2}")),
            each(&steady.cpu, &|value| format!("{:.1} %", value * 100.0)),
        ]
    };
    let target = ["target", "≥ 95 %", "≤ 160 with fpw off", "≤ 3", ""].map(str::to_owned);
    let head = ["", "HOT", "WAL a sighting", "commits a second, each proxy", "CPU, each proxy"];
    *text += &table(head, measured.iter().map(row).chain([target]));
    Ok(())
}

fn history(text: &mut String, history: &History) -> Result<()> {
    let megabytes = |bytes: i64| grouped(bytes as f64 / 1e6, if bytes < 10_000_000 { 1 } else { 0 });
    let indexes = history.indexes.iter().map(|(name, bytes)| format!("`{name}` {} MB", megabytes(*bytes)));
    write!(
        text,
        "
### Ten million connections

{} rows over two years, of {} agents: {} MB and indexes of {}. Each query five times, for other agents and days,
through the view as `tailnet_reader`. No plan scans the whole table; the run fails if one does.

",
        grouped(history.rows as f64, 0),
        grouped(history::AGENTS as f64, 0),
        megabytes(history.table_bytes),
        indexes.collect::<Vec<_>>().join(", ")
    )?;
    let queries =
        [("the last 100 connections of an agent", &history.agent), ("the connections of a day", &history.day)];
    let rows = queries.map(|(what, query)| {
        let (rows, pages) = (query.rows.shown(0), query.pages.shown(0));
        [what.to_owned(), rows, query.milliseconds.shown(2), pages, query.plan.join(" → ")]
    });
    *text += &table(["", "rows", "ms", "pages", "plan, from the top"], rows);
    let dropped = &history.dropped;
    writeln!(
        text,
        "\n`tailnet.drop_connection_logs` of the oldest month: {} rows in {:.1} s, {:.0} bytes of WAL a row (fpw on).",
        grouped(dropped.rows as f64, 0),
        dropped.seconds,
        dropped.wal_a_row
    )?;
    Ok(())
}
