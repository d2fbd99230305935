//! The figures for people: the table on the terminal, a section of docs/performance.md, and the headline of the README.

use std::{fmt::Write as _, path::Path};

use anyhow::{Context, Result};
use tailnet_tests::measure::{
    figure::{Figure, grouped},
    machine::Machine,
    section,
};

use crate::{
    cpu::Cpu,
    engines::{Engines, Measured},
    plot,
    report::{Report, figure},
    target::Row,
    updates::HELD_MS,
};

/// The name of our sections.
const SECTION: &str = "bench";

/// Writes what a full run found into a clone.
///
/// # Errors
/// When a file cannot be written.
pub fn write(report: &Report, clone: &Path) -> Result<()> {
    plot::write(report, &clone.join("docs/plots"))?;
    let files = [("docs/performance.md", whole(report)?), ("README.md", headline(report)?)];
    for (file, text) in files {
        section::write(&clone.join(file), SECTION, &text)?;
        eprintln!("written: {file}");
    }
    Ok(())
}

/// For a terminal.
pub fn summary(report: &Report) -> String {
    let rows = report.rows();
    let cells: Vec<[String; 4]> = rows
        .iter()
        .map(|row| {
            [format!("{:4} {}", row.name, row.what), row.target(), row.measured(), row.verdict().replace('*', "")]
        })
        .collect();
    let width = |column: usize| cells.iter().map(|cell| cell[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 3] = std::array::from_fn(width);
    let mut text = String::new();
    if report.quick {
        text += "not a full run: the targets are for 32,000 peers, and for three rounds\n";
    }
    for [what, target, measured, verdict] in &cells {
        let line = format!(
            "{what:w0$}  {target:>w1$}  {measured:>w2$}  {verdict}",
            w0 = widths[0],
            w1 = widths[1],
            w2 = widths[2]
        );
        text += line.trim_end();
        text.push('\n');
    }
    if let Some(storm) = report.storms.last() {
        let _ = writeln!(text, "storm: {}", storm.cpu);
    }
    for (rate, steady) in report.rates() {
        if let Some(steady) = steady.last() {
            let _ = writeln!(text, "{rate:.0} updates a second: {}", steady.cpu);
        }
    }
    text
}

fn circumstances(machine: &Machine) -> String {
    let Machine { date, commit, processor, cores, memory, kernel, load, postgres, durability } = machine;
    format!(
        "`make bench`, {date}, commit {commit}.
{processor}, {cores} cores, {memory:.0} GiB, Linux {kernel}; load average at the start {load}.
Postgres {postgres} with its defaults: {durability}. Postgres, two proxies with default options and the load share the cores.
"
    )
}

fn table(rows: &[Row], brief: bool) -> String {
    let mut text = "| | what | target | measured | |\n|---|---|---|---|---|\n".to_owned();
    for row in rows.iter().filter(|row| !brief || row.met.is_some()) {
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
",
        table(&report.rows(), true)
    ))
}

/// For docs/performance.md.
fn whole(report: &Report) -> Result<String> {
    let machine = report.machine.as_ref().context("the machine was not looked at")?;
    let peers = grouped(report.peers as f64, 0);
    let mut text = format!("## The whole: {peers} peers on two proxies\n\n{}\n", circumstances(machine));
    let _ = writeln!(
        text,
        "A pair is an agent on one proxy and a client on the other, with a tunnel. Two load processes hold all websockets, and
compare each node that a peer is told, byte for byte, with what its partner announced. A figure of several runs is their
median, with the least and the most in brackets; each run of the parts with {peers} peers has a database, proxies and
processes of its own. A run in which a peer is told what is not so has no figures: it fails.

{}",
        table(&report.rows(), false)
    );
    storm(&mut text, report);
    updates(&mut text, report);
    rest(&mut text, report);
    failures(&mut text, report);
    if let Some(engines) = &report.engines {
        database(&mut text, engines);
    }
    let _ = writeln!(text, "\nAll of it took {:.0} minutes.", report.seconds / 60.0);
    Ok(text)
}

/// Seconds of one core, or shares of one.
fn cpu_cells(cpu: &Cpu, of: impl Fn(f64) -> String) -> String {
    let each = |all: &[f64]| all.iter().map(|seconds| of(*seconds)).collect::<Vec<_>>().join(" + ");
    format!("{} | {} | {} | {}", of(cpu.postgres), each(&cpu.proxies), each(&cpu.loads), of(cpu.others))
}

fn storm(text: &mut String, report: &Report) {
    let _ = write!(
        text,
        "\n### Storm

All peers connect as fast as the proxies take them, at most 1,000 websockets a proxy being opened at a time. Each shows its
token, announces its node, and the clients open their tunnels; a view is right when it has the partner's node. CPU is in
seconds of one core; *others* is all else that the machine did.

![Peers connected, and right views, against time](plots/storm.svg)

| run | seconds | statements a peer | put off | CPU: Postgres | proxies | load | others |
|---|---|---|---|---|---|---|---|
"
    );
    for (number, storm) in report.storms.iter().enumerate() {
        let cpu = cpu_cells(&storm.cpu, |seconds| format!("{seconds:.1}"));
        let _ = writeln!(
            text,
            "| {} | {:.2} | {:.3} | {} | {cpu} |",
            number + 1,
            storm.seconds,
            storm.statements_a_peer,
            storm.put_off
        );
    }
}

fn updates(text: &mut String, report: &Report) {
    let _ = write!(
        text,
        "\n### Updates

Peers in turn announce a new node at a steady rate, all others stay connected. The latency counts from when the update was
due, whether or not those before it have arrived, until the frame is read off the partner's websocket; *late* is how much
of that passed before the load itself had written it. A rate is held when 99 of 100 updates take at most {HELD_MS:.0} ms. *Merged*
are those that a later update of the same peer has overtaken. CPU is in percent of one core.

![Latency against rate](plots/latency.svg)

| a second | p50 ms | p99 ms | max ms | late, p99 ms | merged | statements an update | CPU: Postgres | proxies | load | others | held |
|---|---|---|---|---|---|---|---|---|---|---|---|
"
    );
    for (rate, steady) in report.rates() {
        let shown = |digits, of: fn(&crate::updates::Steady) -> f64| {
            figure(&steady, |steady| of(steady)).map_or_else(String::new, |figure| spread(&figure, digits))
        };
        let middle = steady[steady.len() / 2];
        let held = steady.iter().filter(|steady| steady.held).count();
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} % | {} | {} | {held} of {} |",
            grouped(rate, 0),
            shown(1, |steady| steady.latency_ms.p50),
            shown(1, |steady| steady.latency_ms.p99),
            shown(0, |steady| steady.latency_ms.max),
            shown(1, |steady| steady.lateness_ms.p99),
            shown(1, |steady| steady.merged * 100.0),
            shown(4, |steady| steady.statements_an_update),
            cpu_cells(&middle.cpu, |seconds| format!("{:.0}", seconds / middle.cpu.seconds * 100.0)),
            steady.len()
        );
    }
}

fn rest(text: &mut String, report: &Report) {
    let _ = write!(
        text,
        "\n### Memory and rest

Resident memory (`Rss` of `/proc/PID/smaps_rollup`) of each proxy some seconds after the storm, less what the same proxy had
just before it, for each peer; in the last column without that.

![Resident memory against peers](plots/memory.svg)

| proxy | before, MiB | after, MiB | KiB a peer | KiB a peer, nothing subtracted |
|---|---|---|---|---|
"
    );
    for (proxy, name) in ["agents", "clients"].into_iter().enumerate() {
        let shown = |digits, of: &dyn Fn(&crate::report::Resident) -> f64| {
            figure(&report.memory, of).map_or_else(String::new, |figure| spread(&figure, digits))
        };
        let _ = writeln!(
            text,
            "| of the {name} | {} | {} | {} | {} |",
            shown(0, &|memory| memory.before[proxy].rss as f64 / f64::from(1 << 20)),
            shown(0, &|memory| memory.after[proxy].rss as f64 / f64::from(1 << 20)),
            shown(1, &|memory| memory.a_peer(proxy) / 1024.0),
            shown(1, &|memory| memory.after[proxy].rss as f64 / 1024.0 / memory.peers as f64)
        );
    }
    if let Some(idle) = &report.idle {
        let share = |of: &dyn Fn(&Cpu) -> f64| {
            figure(&idle.intervals, |cpu| of(cpu) / cpu.seconds * 100.0)
                .map_or_else(String::new, |figure| spread(&figure, 1))
        };
        let _ = writeln!(
            text,
            "\nAt rest, each peer is pinged every 15 s, and the heartbeats of agents are written. In percent of one core, by intervals of
15 s: the proxy with {agents} agents {}, the one with {agents} clients {}, Postgres {}, the load {}, others {}.",
            share(&|cpu| cpu.proxies[0]),
            share(&|cpu| cpu.proxies[1]),
            share(&|cpu| cpu.postgres),
            share(&|cpu| cpu.loads.iter().sum()),
            share(&|cpu| cpu.others),
            agents = grouped(idle.agents as f64, 0),
        );
    }
}

fn failures(text: &mut String, report: &Report) {
    let _ = write!(
        text,
        "\n### Failures

Postgres is killed (SIGKILL of its first process) and started again. While it is away every peer announces another node: its
partner must be told that one, and nobody may be told that a partner is lost.

| run | Postgres away, s | from taking connections to right views, s | websockets closed | LOST or DISCONNECTED told |
|---|---|---|---|---|
"
    );
    for (number, crash) in report.crashes.iter().enumerate() {
        let _ = writeln!(
            text,
            "| {} | {:.2} | {:.2} | {} | {} |",
            number + 1,
            crash.away_seconds,
            crash.seconds,
            crash.closed,
            crash.partings
        );
    }
    let half = grouped(report.peers as f64 / 2.0, 0);
    let _ = write!(
        text,
        "\nThe LISTEN connection of the agents' proxy is ended (`pg_terminate_backend`), and all {half} clients, on the other
proxy, announce another node. Statements are all of that proxy until every agent was told, and all sessions were restored;
*beats* are those of them that go on whatever happens.

| run | seconds to right views | statements | of which beats |
|---|---|---|---|
"
    );
    for (number, resync) in report.resyncs.iter().enumerate() {
        let _ = writeln!(
            text,
            "| {} | {:.2} | {} | {} |",
            number + 1,
            resync.seconds,
            resync.statements.all,
            resync.statements.beats
        );
    }
    if let Some(hub) = &report.hub {
        let shown = |all: &[f64]| figure(all, |seconds| *seconds).map_or_else(String::new, |figure| spread(&figure, 2));
        let _ = writeln!(
            text,
            "\nA hub on the clients' proxy opens {} tunnels within {:.1} s. Its websocket breaks; when all partners know that, it comes back: its
view is whole after {} s, and all partners know that it is back after {} s.",
            grouped(hub.tunnels as f64, 0),
            hub.opening_seconds,
            shown(&hub.view_seconds),
            shown(&hub.partners_seconds)
        );
    }
}

fn database(text: &mut String, engines: &Engines) {
    let found = &engines.found;
    let _ = write!(
        text,
        "\n### At the database: against the prior design, and against itself

`tailnet-engines`, without websockets: {} peers over {} coordinators. The prior design is one upsert and one notification on a
global channel a change; every replica hears every change, and looks up tunnels and bindings in batches of up to 50.

| | updates a second, saturated | CPU of Postgres, µs an update | statements an update | statements of a bystander | its payloads |
|---|---|---|---|---|---|
",
        grouped(found.fan_out.peers as f64, 0),
        found.fan_out.coordinators
    );
    for Measured { engine, saturated, bystanders, .. } in &found.fan_out.engines {
        let _ = writeln!(
            text,
            "| {engine} | {} | {} | {} | {} | {} |",
            spread(&saturated.updates_per_second, 0),
            spread(&saturated.postgres_us, 1),
            spread(&saturated.statements, 4),
            spread(&bystanders.statements, 3),
            spread(&bystanders.payloads, 3)
        );
    }
    let _ = writeln!(
        text,
        "\n| | a second | p50 ms | p99 ms | CPU of Postgres, µs an update | statements an update | held |\n|---|---|---|---|---|---|---|"
    );
    for Measured { engine, rates, .. } in &found.fan_out.engines {
        for rate in rates {
            let _ = writeln!(
                text,
                "| {engine} | {} | {} | {} | {} | {} | {} |",
                grouped(rate.per_second, 0),
                spread(&rate.p50_ms, 1),
                spread(&rate.p99_ms, 1),
                spread(&rate.postgres_us, 1),
                spread(&rate.statements, 3),
                if rate.held { "yes" } else { "no" }
            );
        }
    }
    let _ = write!(
        text,
        "\n![Database cost of an update against the number of peers](plots/size.svg)

Calls of {} updates of random peers, among many and among 10,000, interleaved; *same*: of the same peers each time, whose pages
are all in the buffers.

| peers | tables and indexes, MB | µs an update | among 10,000 | ÷ | CPU ÷ | same ÷ |
|---|---|---|---|---|---|---|
",
        found.size.batch
    );
    for point in &found.size.points {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} |",
            grouped(point.peers as f64, 0),
            grouped(point.megabytes, 0),
            spread(&point.random.large.us, 1),
            spread(&point.random.small.us, 1),
            spread(&point.random.ratio, 2),
            spread(&point.random.cpu_ratio, 2),
            spread(&point.same.ratio, 2)
        );
    }
    let _ = writeln!(
        text,
        "\nUpdates of agents, with a hub that has a tunnel to each of {} and without it.\n\n| hub | updates a call | µs with it | µs without | ÷ | CPU ÷ |\n|---|---|---|---|---|---|",
        grouped(found.hub.tunnels as f64, 0)
    );
    for case in &found.hub.cases {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} |",
            case.hub,
            case.batch,
            spread(&case.with.us, 1),
            spread(&case.without.us, 1),
            spread(&case.ratio, 2),
            spread(&case.cpu_ratio, 2)
        );
    }
}

/// Without brackets when all runs agree.
fn spread(figure: &Figure, digits: usize) -> String {
    if figure.min == figure.max { grouped(figure.median, digits) } else { figure.shown(digits) }
}
