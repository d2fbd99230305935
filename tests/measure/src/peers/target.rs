//! The targets of the project, and what was measured of each.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use crate::{
    common::{
        figure::{Figure, grouped},
        json,
    },
    engines::{fan_out::FanOut, hub::Hub, measured::REPLICAS, report::Report as Engines, size::Size},
    peers::{
        options::{REST, UPDATES_A_SECOND},
        protocols::Side,
        report::Report,
        row::{
            Bound::{self, AtLeast, AtMost, Never},
            Row,
        },
        updates::{HELD_MS, Steady, highest_held},
    },
};

/// Milliseconds that 99 of 100 updates may take.
pub const UPDATE_MS: f64 = 25.0;

/// Writes a report for machines, with the targets.
pub fn write(report: &Report, path: &Path) -> Result<()> {
    #[derive(Serialize)]
    struct Whole<'a> {
        targets: Vec<Row>,
        #[serde(flatten)]
        report: &'a Report,
    }
    json::write(path, &Whole { targets: rows(report), report })
}

/// All of which there are figures.
pub fn rows(report: &Report) -> Vec<Row> {
    let mut rows = Rows::default();
    rows.of_peers(report);
    if let Some(engines) = &report.engines {
        let Engines { fan_out, size, hub, .. } = &engines.all;
        fan_out.iter().for_each(|fan_out| rows.of_fan_out(fan_out));
        size.iter().for_each(|size| rows.of_size(size));
        hub.iter().for_each(|hub| rows.of_hub(hub));
    }
    rows.of_failures(report);
    rows.of_protocols(report);
    rows.0.sort_by_key(|row| row.name.trim_start_matches('P').parse::<u32>().unwrap_or(u32::MAX));
    rows.0
}

#[derive(Default)]
struct Rows(Vec<Row>);

impl Rows {
    /// Nothing, if there was no run.
    fn add<T>(
        &mut self,
        name: &'static str,
        what: impl Into<String>,
        bound: Option<Bound>,
        unit: (&'static str, usize),
        runs: &[T],
        of: impl Fn(&T) -> f64,
    ) {
        self.0.extend(Figure::over(runs, of).map(|figure| Row::new(name, what, bound, unit, figure, runs.len())));
    }

    fn of_peers(&mut self, report: &Report) {
        let [peers, half] = [1.0, 2.0].map(|part| grouped(report.peers as f64 / part, 0));
        let what = format!("{peers} peers connect at once, until every view is right");
        self.add("P1", what, Some(AtMost(10.0)), ("s", 2), &report.storms, |storm| storm.seconds);
        let what = "SQL statements for each of them";
        self.add("P1", what, Some(AtMost(0.06)), ("", 3), &report.storms, |storm| storm.statements_a_peer);
        let rates = report.rates();
        self.of_rest(report, &rates);
        let target = rates.iter().find(|(rate, _)| *rate == UPDATES_A_SECOND);
        if let Some((rate, steady)) = target {
            let what = format!("{} node updates a second, due to read by the partner", grouped(*rate, 0));
            let of = |quantile| format!("{what}, {quantile}");
            self.add("P2", of("p99"), Some(AtMost(UPDATE_MS)), ("ms", 1), steady, |steady| steady.latency_ms.p99);
            self.add("P13", of("p50"), Some(AtMost(4.0)), ("ms", 1), steady, |steady| steady.latency_ms.p50);
            self.add("P13", of("p99"), Some(AtMost(12.0)), ("ms", 1), steady, |steady| steady.latency_ms.p99);
        }
        if rates.len() > 1 {
            let what = format!("the highest rate of updates held with p99 ≤ {HELD_MS:.0} ms");
            self.add("P2", what, None, ("a second", 0), &report.updates, |climbed| highest_held(climbed));
        }
        let what = "SQL statements for each update that is told, with more updates than can be told";
        self.add("P3", what, Some(AtMost(0.005)), ("", 4), &report.saturated, |steady| steady.statements_an_update);
        if let Some((rate, steady)) = target {
            let what = format!("SQL statements for each update at {} a second", grouped(*rate, 0));
            self.add("P13", what, Some(AtMost(0.1)), ("", 3), steady, |steady| steady.statements_an_update);
        }
        let what = format!("resident memory of a proxy for each of {half} idle peers, after the storm");
        self.add("P5", what, Some(AtMost(8.0)), ("KiB", 1), &report.memory, |memory| memory.most_a_peer() / 1024.0);
        if let Some(idle) = &report.idle {
            let what = format!("CPU of an idle proxy with {} connected agents", grouped(idle.agents as f64, 0));
            let share = |cpu: &crate::peers::cpu::Cpu| cpu.proxies[0] / cpu.seconds * 100.0;
            self.add("P10", what, Some(AtMost(5.0)), ("% of a core", 1), &idle.intervals, share);
        }
    }

    /// What waits for nobody, because there is little to do.
    fn of_rest(&mut self, report: &Report, rates: &[(f64, Vec<&Steady>)]) {
        let fan_out = report.engines.as_ref().and_then(|engines| engines.all.fan_out.as_ref());
        for (rate, steady) in rates.iter().filter(|(rate, _)| REST.contains(rate)) {
            let what = format!("{} node updates a second, due to read by the partner, p50", grouped(*rate, 0));
            self.add("P12", what, Some(AtMost(1.5)), ("ms", 2), steady, |steady| steady.latency_ms.p50);
            self.add("P12", "the same, p99", Some(AtMost(5.0)), ("ms", 2), steady, |steady| steady.latency_ms.p99);
            let prior = fan_out.and_then(|fan_out| fan_out.p50_ms(REPLICAS, *rate));
            if let Some(prior) = prior {
                let what = "p50 ÷ that of the prior design, which has no websockets";
                self.add("P12", what, Some(AtMost(1.0)), ("", 2), steady, |steady| steady.latency_ms.p50 / prior);
            }
        }
        let what = "first contact: from the frame of the later one until both have read the node of the other, p50";
        self.add("P12", what, Some(AtMost(3.0)), ("ms", 2), &report.contacts, |contact| contact.p50);
    }

    fn of_failures(&mut self, report: &Report) {
        let [peers, half] = [1.0, 2.0].map(|part| grouped(report.peers as f64 / part, 0));
        if let Some(hub) = &report.hub {
            let tunnels = grouped(hub.tunnels as f64, 0);
            let what = format!("a hub with {tunnels} tunnels comes back, until its view is whole");
            self.add("P7", what, Some(AtMost(2.0)), ("s", 2), &hub.view_seconds, |seconds| *seconds);
        }
        let what = format!("Postgres is killed under {peers} peers: from taking connections until every view is right");
        self.add("P8", what, Some(AtMost(10.0)), ("s", 2), &report.crashes, |crash| crash.seconds);
        let what = "websockets that are closed by that";
        self.add("P8", what, Some(Never), ("", 0), &report.crashes, |crash| crash.closed as f64);
        let what = format!(
            "SQL statements after the LISTEN connection of a proxy with {half} peers ended, until all is right, recurring ones aside"
        );
        self.add("P9", what, Some(AtMost(40.0)), ("", 0), &report.resyncs, |resync| {
            (resync.statements.all - resync.statements.recurring) as f64
        });
    }

    fn of_protocols(&mut self, report: &Report) {
        let Some(first) = report.protocols.first() else { return };
        let (both, peers) = (&report.protocols, grouped(first.v2.storm.peers as f64, 0));
        let what = format!("{peers} v2 peers connect at once ÷ as many JSON peers, time");
        self.add("P19", what, Some(AtMost(1.3)), ("", 2), both, |both| both.ratio(|side| side.storm.seconds));
        let what = "the same, CPU of the proxies";
        self.add("P19", what, Some(AtMost(1.3)), ("", 2), both, |both| both.ratio(Side::storm_cpu));
        let what = "the same, SQL statements a peer";
        self.add("P19", what, Some(AtMost(1.1)), ("", 2), both, |both| both.ratio(|side| side.storm.statements_a_peer));
        let what = "updates a second, each peer one in flight, through v2 ÷ through JSON";
        let told = |side: &Side| side.saturated.told_per_second;
        self.add("P20", what, Some(AtLeast(0.9)), ("", 2), both, |both| both.ratio(told));
        let what = "resident memory of a proxy for each v2 peer with both streams open";
        self.add("P5", what, Some(AtMost(10.0)), ("KiB", 1), both, |both| both.v2.memory.most_a_peer() / 1024.0);
        let what = format!("CPU of both proxies with {peers} idle v2 peers, which ping");
        self.add("P10", what, Some(AtMost(4.0)), ("% of a core", 1), both, |both| both.v2.idle_share());
    }

    fn of_fan_out(&mut self, found: &FanOut) {
        let FanOut { rounds, coordinators, .. } = found;
        let bystanders = found.extension().and_then(|extension| extension.bystanders.as_ref());
        let what = "SQL statements of proxies without interest, for each update";
        self.0.extend(bystanders.map(|found| Row::new("P3", what, Some(Never), ("", 0), found.statements, *rounds)));
        let prior =
            [(&found.ratios, "the prior design", Some(AtLeast(10.0))), (&found.ratios_tuned, "the same tuned", None)];
        for (ratios, design, bound) in prior {
            let Some(ratios) = ratios else { continue };
            let what = format!("updates fanned out a second by {coordinators} coordinators, ours ÷ {design}");
            self.0.push(Row::new("P4", what, bound, ("", 1), ratios.updates, *rounds));
            let what = format!("CPU of Postgres for each update, {design} ÷ ours");
            self.0.push(Row::new("P4", what, bound, ("", 1), ratios.postgres_cpu, *rounds));
        }
    }

    fn of_size(&mut self, size: &Size) {
        let Some(point) = size.points.last() else { return };
        let peers = grouped(point.peers as f64, 0);
        let what = format!("time of an update at the database among {peers} peers ÷ among 10,000");
        self.0.push(Row::new("P6", what, Some(AtMost(1.3)), ("", 2), point.random.ratio, size.rounds));
        self.0.push(Row::new("P6", "the same, CPU", Some(AtMost(1.3)), ("", 2), point.random.cpu_ratio, size.rounds));
    }

    fn of_hub(&mut self, hub: &Hub) {
        let tunnels = grouped(hub.tunnels as f64, 0);
        let worst = |figures: Vec<Figure>| figures.into_iter().max_by(|one, other| one.median.total_cmp(&other.median));
        let time = worst(hub.cases.iter().map(|case| case.ratio).collect());
        let cpu = worst(hub.cases.iter().map(|case| case.cpu_ratio).collect());
        for (what, ratio) in [("time", time), ("CPU", cpu)] {
            let what = format!("{what} of an agent's update with a hub of {tunnels} tunnels ÷ without, the worst case");
            self.0.extend(ratio.map(|ratio| Row::new("P7", what, Some(AtMost(1.2)), ("", 2), ratio, hub.rounds)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::crash::Crash;

    #[test]
    fn what_was_not_measured_has_no_row() {
        assert!(rows(&Report::default()).is_empty());
        let crash = |closed| Crash { peers: 10, away_seconds: 1.0, seconds: 2.0, closed, partings: 0 };
        let report = Report { crashes: vec![crash(0), crash(3), crash(0)], ..Report::default() };
        let rows = rows(&report);
        let verdicts: Vec<_> = rows.iter().map(|row| (row.name, row.runs, row.met)).collect();
        assert_eq!(verdicts, [("P8", 3, Some(true)), ("P8", 3, Some(false))]);
    }
}
