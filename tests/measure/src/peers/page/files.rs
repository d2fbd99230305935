//! What a full run writes into a clone: a section of docs/performance.md, and the headline of the README.

use std::{fmt::Write as _, path::Path};

use anyhow::{Context, Result};

use crate::{
    common::{figure::grouped, machine::Machine, section},
    peers::{
        page::{database, peers, protocols},
        plot,
        report::Report,
        row::Row,
        target::rows,
    },
};

/// The name of our sections.
const SECTION: &str = "bench";

/// Writes what a full run found into a clone.
pub fn write(report: &Report, clone: &Path) -> Result<()> {
    plot::run::write(report, &clone.join("docs/plots"))?;
    let files = [("docs/performance.md", whole(report)?), ("README.md", headline(report)?)];
    for (file, text) in files {
        section::write(&clone.join(file), SECTION, &text)?;
        eprintln!("written: {file}");
    }
    Ok(())
}

/// What the README shows, whether it was met or missed; the rest is in docs/performance.md.
const HEADLINE: [&str; 6] = ["P1", "P4", "P5", "P6", "P8", "P13"];

fn table(rows: &[Row], brief: bool) -> String {
    let mut text = "| | what | target | measured | |\n|---|---|---|---|---|\n".to_owned();
    for row in rows.iter().filter(|row| !brief || HEADLINE.contains(&row.name) && row.met.is_some()) {
        let Row { name, what, runs, .. } = row;
        let measured = if *runs > 1 && !brief { format!("{}, {runs} runs", row.measured()) } else { row.measured() };
        let _ = writeln!(text, "| {name} | {what} | {} | {measured} | {} |", row.target(), row.verdict());
    }
    text
}

/// For the README.
fn headline(report: &Report) -> Result<String> {
    let Machine { date, commit, processor, cores, .. } =
        report.machine.as_ref().context("the machine was not looked at")?;
    Ok(format!(
        "`make bench`, {date}, commit {commit}, on {cores} cores ({processor}) that Postgres, two proxies and the load share;
medians, with the least and the most in brackets. How it is measured: [performance](docs/performance.md).

{}
![Peers connected, and right views, against time](docs/plots/storm.svg)

![Latency of updates against their rate](docs/plots/latency.svg)
",
        table(&rows(report), true)
    ))
}

/// For docs/performance.md.
fn whole(report: &Report) -> Result<String> {
    let machine = report.machine.as_ref().context("the machine was not looked at")?;
    let peers = grouped(report.peers as f64, 0);
    let Machine { date, commit, .. } = machine;
    let mut text = format!(
        "## The whole: {peers} peers on two proxies

`make bench`, {date}, commit {commit}.
{machine} Postgres, two proxies with default options and the load share the cores.

"
    );
    if let Some(others) = report.disturbance() {
        let _ = writeln!(text, "All else that the machine did took {} % of a core meanwhile.\n", others.brief(0));
    }
    let _ = writeln!(
        text,
        "A pair is an agent on one proxy and a client on the other, with a tunnel. Two load processes hold all websockets, and
compare each node that a peer is told, byte for byte, with what its partner announced. A figure of several runs is their
median, with the least and the most in brackets; each run of the parts with {peers} peers has a database, proxies and
processes of its own. A run in which a peer is told what is not so has no figures: it fails.

{}",
        table(&rows(report), false)
    );
    peers::storm(&mut text, report);
    peers::updates(&mut text, report);
    peers::rest(&mut text, report);
    peers::failures(&mut text, report);
    protocols::write(&mut text, &report.protocols);
    if let Some(engines) = &report.engines {
        database::write(&mut text, &engines.all);
    }
    let _ = writeln!(text, "\nAll of it took {:.0} minutes.", report.seconds / 60.0);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::{crash::Crash, hub::Hub, page::terminal::summary, report::Report};

    fn report() -> Report {
        let machine = Machine {
            date: "2026-01-01 00:00 UTC".to_owned(),
            commit: "abc1234".to_owned(),
            processor: "P".to_owned(),
            cores: 2,
            memory: 24.0,
            kernel: "6".to_owned(),
            load: 0.1,
            postgres: "15".to_owned(),
            durability: "fsync = on".to_owned(),
        };
        let crash = |seconds| Crash { peers: 32_000, away_seconds: 0.5, seconds, closed: 0, partings: 0 };
        let hub = Hub {
            tunnels: 30_000,
            opening_seconds: 9.0,
            view_seconds: vec![1.5, 2.5, 2.0],
            partners_seconds: vec![3.0],
        };
        Report {
            machine: Some(machine),
            is_full: true,
            peers: 32_000,
            crashes: vec![crash(4.0), crash(11.0), crash(10.5)],
            hub: Some(hub),
            ..Report::default()
        }
    }

    #[test]
    fn the_page_says_what_was_met_and_what_was_missed() {
        let page = whole(&report()).expect("the machine is known");
        assert!(page.starts_with("## The whole: 32,000 peers"));
        assert!(page.contains("2026-01-01 00:00 UTC, commit abc1234"));
        assert!(page.contains("| ≤ 10 s | 10.50 s (4.00–11.00), 3 runs | **missed** |"), "{page}");
        assert!(page.contains("| 0 | 0, 3 runs | met |"), "{page}");
        assert!(page.contains("| ≤ 2 s | 2.00 s (1.50–2.50), 3 runs | met |"), "{page}");
    }

    #[test]
    fn readme_and_terminal_say_the_same() {
        let report = report();
        let readme = headline(&report).expect("the machine is known");
        assert!(
            readme.contains("10.50 s (4.00–11.00) | **missed** |") && readme.contains("docs/plots/storm.svg"),
            "{readme}"
        );
        let text = summary(&report);
        let line = text.lines().find(|line| line.starts_with("P8")).expect("it was measured");
        assert!(line.ends_with("10.50 s (4.00–11.00)  missed"), "{line}");
        assert!(!text.contains("not a full run"));
    }
}
