//! What was measured with peers on proxies.

use std::fmt::Write as _;

use tailnet_measure::figure::grouped;

use super::spread;
use crate::{
    cpu::Cpu,
    report::{Report, figure},
    updates::{HELD_MS, Steady},
};

/// Seconds of one core, or shares of one.
fn cpu_cells(cpu: &Cpu, of: impl Fn(f64) -> String) -> String {
    let each = |all: &[f64]| all.iter().map(|seconds| of(*seconds)).collect::<Vec<_>>().join(" + ");
    format!("{} | {} | {} | {}", of(cpu.postgres), each(&cpu.proxies), each(&cpu.loads), of(cpu.others))
}

/// P1.
pub fn storm(text: &mut String, report: &Report) {
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

/// P2 and P3.
pub fn updates(text: &mut String, report: &Report) {
    let _ = write!(
        text,
        "\n### Updates

Peers in turn announce a new node at a steady rate, all others stay connected. The latency counts from when the update was
due, whether or not those before it have arrived, until the frame is read off the partner's websocket; *late* is how much
of that passed before the load itself had written it. A rate is held when 99 of 100 updates take at most {HELD_MS:.0} ms. *Merged*
are those that a later update of the same peer has overtaken. CPU is in percent of one core, of one run.

![Latency against rate](plots/latency.svg)

| a second | p50 ms | p99 ms | max ms | late, p99 ms | merged | statements an update | CPU: Postgres | proxies | load | others | held |
|---|---|---|---|---|---|---|---|---|---|---|---|
"
    );
    for (rate, steady) in report.rates() {
        let held = steady.iter().filter(|steady| steady.held).count();
        let _ = writeln!(text, "| {} | {} | {held} of {} |", grouped(rate, 0), steady_cells(&steady), steady.len());
    }
    let saturated: Vec<_> = report.saturated.iter().collect();
    if let Some(last) = saturated.last() {
        let told =
            figure(&saturated, |steady| steady.told_per_second).map_or_else(String::new, |told| spread(&told, 0));
        let rate = grouped(last.per_second, 0);
        let _ = writeln!(text, "| {rate}, too many | {} | |", steady_cells(&saturated));
        let _ = writeln!(text, "\nWhen there are too many, partners are told {told} updates a second.");
    }
}

fn steady_cells(all: &[&Steady]) -> String {
    let shown = |digits, of: fn(&Steady) -> f64| {
        figure(all, |steady| of(steady)).map_or_else(String::new, |figure| spread(&figure, digits))
    };
    let middle = &all[all.len() / 2].cpu;
    [
        shown(1, |steady| steady.latency_ms.p50),
        shown(1, |steady| steady.latency_ms.p99),
        shown(0, |steady| steady.latency_ms.max),
        shown(1, |steady| steady.lateness_ms.p99),
        shown(1, |steady| steady.merged * 100.0) + " %",
        shown(4, |steady| steady.statements_an_update),
        cpu_cells(middle, |seconds| format!("{:.0}", seconds / middle.seconds * 100.0)),
    ]
    .join(" | ")
}

/// P5 and P10.
pub fn rest(text: &mut String, report: &Report) {
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

/// P7, P8 and P9.
pub fn failures(text: &mut String, report: &Report) {
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
*beats* are those of them that go on whatever happens, of the proxy itself and of its agents.

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
