//! What was measured with peers on proxies.

use std::fmt::Write as _;

use crate::{
    common::{
        figure::{Figure, grouped},
        table::table,
    },
    peers::{
        cpu::Cpu,
        report::Report,
        resident::Resident,
        updates::{HELD_MS, Quantiles, Steady},
    },
};

/// Seconds of one core, or shares of one: of Postgres, of the proxies, of the load, of others.
fn cpu_cells(cpu: &Cpu, of: impl Fn(f64) -> String) -> [String; 4] {
    let each = |all: &[f64]| all.iter().map(|seconds| of(*seconds)).collect::<Vec<_>>().join(" + ");
    [of(cpu.postgres), each(&cpu.proxies), each(&cpu.loads), of(cpu.others)]
}

/// Median and spread; nothing, if there was no run.
fn brief<T>(runs: &[T], digits: usize, of: impl Fn(&T) -> f64) -> String {
    Figure::over(runs, of).map_or_else(String::new, |figure| figure.brief(digits))
}

/// P1.
pub fn storm(text: &mut String, report: &Report) {
    *text += "
### Storm

All peers connect as fast as the proxies take them, at most 1,000 websockets a proxy being opened at a time. Each shows its
token, announces its node, and the clients open their tunnels; a view is right when it has the partner's node. CPU is in
seconds of one core; *others* is all else that the machine did.

![Peers connected, and right views, against time](plots/storm.svg)

";
    let storms = report.storms.iter().enumerate().map(|(number, storm)| {
        let [postgres, proxies, load, others] = cpu_cells(&storm.cpu, |seconds| format!("{seconds:.1}"));
        let seconds = format!("{:.2}", storm.seconds);
        let statements = format!("{:.3}", storm.statements_a_peer);
        let (run, put_off) = ((number + 1).to_string(), storm.put_off.to_string());
        [run, seconds, statements, put_off, postgres, proxies, load, others]
    });
    let head = ["run", "seconds", "statements a peer", "put off", "CPU: Postgres", "proxies", "load", "others"];
    *text += &table(head, storms);
}

/// P2, P3, P12 and P13.
pub fn updates(text: &mut String, report: &Report) {
    let _ = write!(
        text,
        "\n### Updates

Peers in turn announce a new node at a steady rate, all others stay connected. The latency counts from when the update was
due, whether or not those before it have arrived, until the frame is read off the partner's websocket; *late* is how much
of that passed before the load itself had written it. A rate is held when 99 of 100 updates take at most {HELD_MS:.0} ms. *Merged*
are those that a later update of the same peer has overtaken. CPU is in percent of one core, of one run.

![Latency against rate](plots/latency.svg)

"
    );
    let mut rows = Vec::new();
    for (rate, steady) in report.rates() {
        let held = steady.iter().filter(|steady| steady.held).count();
        rows.push(steady_cells(grouped(rate, 0), &steady, format!("{held} of {}", steady.len())));
    }
    let saturated: Vec<_> = report.saturated.iter().collect();
    if let Some(last) = saturated.last() {
        let rate = grouped(last.per_second, 0);
        rows.push(steady_cells(format!("{rate}, too many"), &saturated, String::new()));
    }
    let head = [
        "a second",
        "p50 ms",
        "p99 ms",
        "max ms",
        "late, p99 ms",
        "merged",
        "statements an update",
        "CPU: Postgres",
        "proxies",
        "load",
        "others",
        "held",
    ];
    *text += &table(head, rows);
    if !saturated.is_empty() {
        let told = brief(&saturated, 0, |steady| steady.told_per_second);
        let _ = writeln!(text, "\nWhen there are too many, partners are told {told} updates a second.");
    }
    if !report.contacts.is_empty() {
        let [p50, p99] =
            [|met: &Quantiles| met.p50, |met: &Quantiles| met.p99].map(|of| brief(&report.contacts, 2, of));
        let _ = writeln!(
            text,
            "\nFirst contact, while all others are at rest: an agent has announced its node on one proxy; a client, whose websocket to
the other proxy is open, announces its node and opens a tunnel in one frame. Until each has read the node of the other it
takes {p50} ms (p50), {p99} ms (p99)."
        );
    }
}

fn steady_cells(rate: String, all: &[&Steady], held: String) -> [String; 12] {
    let middle = &all[all.len() / 2].cpu;
    let [postgres, proxies, load, others] =
        cpu_cells(middle, |seconds| format!("{:.0}", seconds / middle.seconds * 100.0));
    [
        rate,
        brief(all, 1, |steady| steady.latency_ms.p50),
        brief(all, 1, |steady| steady.latency_ms.p99),
        brief(all, 0, |steady| steady.latency_ms.max),
        brief(all, 1, |steady| steady.lateness_ms.p99),
        brief(all, 1, |steady| steady.merged * 100.0) + " %",
        brief(all, 4, |steady| steady.statements_an_update),
        postgres,
        proxies,
        load,
        others,
        held,
    ]
}

/// P5 and P10.
pub fn rest(text: &mut String, report: &Report) {
    *text += "
### Memory and rest

Resident memory (`Rss` of `/proc/PID/smaps_rollup`) of each proxy some seconds after the storm, less what the same proxy had
just before it, for each peer; in the last column without that.

![Resident memory against peers](plots/memory.svg)

";
    let proxies = ["agents", "clients"].into_iter().enumerate().map(|(proxy, name)| {
        let shown = |digits, of: &dyn Fn(&Resident) -> f64| brief(&report.memory, digits, of);
        [
            format!("of the {name}"),
            shown(0, &|memory| memory.before[proxy].rss as f64 / f64::from(1 << 20)),
            shown(0, &|memory| memory.after[proxy].rss as f64 / f64::from(1 << 20)),
            shown(1, &|memory| memory.a_peer(proxy) / 1024.0),
            shown(1, &|memory| memory.after[proxy].rss as f64 / 1024.0 / memory.peers as f64),
        ]
    });
    let head = ["proxy", "before, MiB", "after, MiB", "KiB a peer", "KiB a peer, nothing subtracted"];
    *text += &table(head, proxies);
    let Some(idle) = &report.idle else { return };
    let share = |of: &dyn Fn(&Cpu) -> f64| brief(&idle.intervals, 1, |cpu| of(cpu) / cpu.seconds * 100.0);
    let _ = write!(
        text,
        "\nAt rest, each peer is pinged every 15 s, and the liveness of agents is written. In percent of one core, by intervals of
15 s: the proxy with {agents} agents {}, the one with {agents} clients {}, Postgres {}, the load {}, others {}.
",
        share(&|cpu| cpu.proxies[0]),
        share(&|cpu| cpu.proxies[1]),
        share(&|cpu| cpu.postgres),
        share(&|cpu| cpu.loads.iter().sum()),
        share(&|cpu| cpu.others),
        agents = grouped(idle.agents as f64, 0),
    );
    let Some(liveness) = &idle.liveness else { return };
    *text += "\nWhat was written of the liveness of agents meanwhile; WAL is everything that the cluster wrote.\n\n";
    let measured = [
        "measured".to_owned(),
        grouped(liveness.rows as f64, 0),
        format!("{:.2} %", liveness.hot * 100.0),
        format!("{:.0}", liveness.wal_each),
        format!("{:.2}", liveness.commits_a_second),
    ];
    let target = ["target", "", "≥ 95 %", "≤ 160", "≤ 3"].map(str::to_owned);
    let head = ["", "rows", "HOT", "WAL a row", "commits a second"];
    *text += &table(head, [measured, target]);
}

/// P7, P8 and P9.
pub fn failures(text: &mut String, report: &Report) {
    *text += "
### Failures

Postgres is killed (SIGKILL of its first process) and started again. While it is away every peer announces another node: its
partner must be told that one, and nobody may be told that a partner is lost.

";
    let crashes = report.crashes.iter().enumerate().map(|(number, crash)| {
        let [away, seconds] = [crash.away_seconds, crash.seconds].map(|seconds| format!("{seconds:.2}"));
        [(number + 1).to_string(), away, seconds, crash.closed.to_string(), crash.partings.to_string()]
    });
    let head = [
        "run",
        "Postgres away, s",
        "from taking connections to right views, s",
        "websockets closed",
        "LOST or DISCONNECTED told",
    ];
    *text += &table(head, crashes);
    let half = grouped(report.peers as f64 / 2.0, 0);
    let _ = write!(
        text,
        "\nThe LISTEN connection of the agents' proxy is ended (`pg_terminate_backend`), and all {half} clients, on the other
proxy, announce another node. Statements are all of that proxy until every agent was told, and all sessions were restored;
*recurring* are those of them that go on whatever happens, of the proxy itself and of its agents.

"
    );
    let resyncs = report.resyncs.iter().enumerate().map(|(number, resync)| {
        let (run, seconds) = ((number + 1).to_string(), format!("{:.2}", resync.seconds));
        [run, seconds, resync.statements.all.to_string(), resync.statements.recurring.to_string()]
    });
    *text += &table(["run", "seconds to right views", "statements", "of which recurring"], resyncs);
    if let Some(hub) = &report.hub {
        let [view, partners] = [&hub.view_seconds, &hub.partners_seconds].map(|all| brief(all, 2, |seconds| *seconds));
        let _ = writeln!(
            text,
            "\nA hub on the clients' proxy opens {} tunnels within {:.1} s. Its websocket breaks; when all partners know that, it comes back: its
view is whole after {view} s, and all partners know that it is back after {partners} s.",
            grouped(hub.tunnels as f64, 0),
            hub.opening_seconds,
        );
    }
}
