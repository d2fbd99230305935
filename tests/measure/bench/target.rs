//! The targets of the project, and what was measured of each.

use serde::Serialize;
use tailnet_measure::figure::{Figure, grouped};

use crate::{
    engines::{Case, Engines},
    options::UPDATES_A_SECOND,
    report::{Report, figure},
    updates::{HELD_MS, highest_held},
};

/// Milliseconds that 99 of 100 updates may take.
pub const UPDATE_MS: f64 = 25.0;

/// One line of the table.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Such as P1.
    pub name: &'static str,
    pub what: String,
    /// Null: it is only reported.
    pub bound: Option<Bound>,
    /// Of bound and figure.
    pub unit: &'static str,
    /// Median, least and most.
    pub figure: Figure,
    /// How often it was measured.
    pub runs: usize,
    /// Null: there is nothing to meet.
    pub met: Option<bool>,
    /// Digits after the point.
    #[serde(skip)]
    digits: usize,
}

/// What a figure must be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    AtMost(f64),
    AtLeast(f64),
    /// In every single run.
    Never,
}

impl Bound {
    fn is_met(self, figure: &Figure) -> bool {
        match self {
            Self::AtMost(most) => figure.median <= most,
            Self::AtLeast(least) => figure.median >= least,
            Self::Never => figure.max == 0.0,
        }
    }
}

impl Row {
    fn new(
        name: &'static str,
        what: impl Into<String>,
        bound: Option<Bound>,
        unit: &'static str,
        digits: usize,
        figure: Figure,
    ) -> Self {
        let met = bound.map(|bound| bound.is_met(&figure));
        Self { name, what: what.into(), bound, unit, figure, runs: 1, met, digits }
    }

    fn runs(mut self, runs: usize) -> Self {
        self.runs = runs;
        self
    }

    /// The target in words.
    pub fn target(&self) -> String {
        let unit = spaced(self.unit);
        match self.bound {
            Some(Bound::AtMost(most)) => format!("≤ {}{unit}", plain(most)),
            Some(Bound::AtLeast(least)) => format!("≥ {}{unit}", plain(least)),
            Some(Bound::Never) => "0".to_owned(),
            None => "–".to_owned(),
        }
    }

    /// The figure in words, with its spread if there is one.
    pub fn measured(&self) -> String {
        let Figure { median, min, max } = self.figure;
        let unit = spaced(self.unit);
        if min == max {
            format!("{}{unit}", grouped(median, self.digits))
        } else {
            format!(
                "{}{unit} ({}–{})",
                grouped(median, self.digits),
                grouped(min, self.digits),
                grouped(max, self.digits)
            )
        }
    }

    /// Whether it is met, in a word.
    pub fn verdict(&self) -> &'static str {
        match self.met {
            Some(true) => "met",
            Some(false) => "**missed**",
            None => "",
        }
    }
}

fn spaced(unit: &str) -> String {
    if unit.is_empty() { String::new() } else { format!(" {unit}") }
}

fn plain(value: f64) -> String {
    grouped(
        value,
        if value.fract() == 0.0 {
            0
        } else if (value * 10.0).fract() == 0.0 {
            1
        } else {
            2
        },
    )
}

/// All of which there are figures.
pub fn rows(report: &Report) -> Vec<Row> {
    use Bound::{AtMost, Never};
    let mut rows = Vec::new();
    let mut add = |row: Option<Row>| rows.extend(row);
    let peers = grouped(report.peers as f64, 0);
    let half = grouped(report.peers as f64 / 2.0, 0);

    let (storms, count) = (&report.storms, report.storms.len());
    let what = format!("{peers} peers connect at once, until every view is right");
    add(figure(storms, |storm| storm.seconds).map(|f| Row::new("P1", what, Some(AtMost(10.0)), "s", 2, f).runs(count)));
    let what = "SQL statements for each of them";
    add(figure(storms, |storm| storm.statements_a_peer)
        .map(|f| Row::new("P1", what, Some(AtMost(0.2)), "", 3, f).runs(count)));

    let rates = report.rates();
    if let Some((rate, steady)) = rates.iter().find(|(rate, _)| *rate == UPDATES_A_SECOND) {
        let (rate, count) = (grouped(*rate, 0), steady.len());
        let what = format!("{rate} node updates a second, due to read by the partner, p99");
        add(figure(steady, |steady| steady.latency_ms.p99)
            .map(|f| Row::new("P2", what, Some(AtMost(UPDATE_MS)), "ms", 1, f).runs(count)));
        add(figure(steady, |steady| steady.latency_ms.p50)
            .map(|f| Row::new("P2", "the same, p50", None, "ms", 1, f).runs(count)));
    }
    if rates.len() > 1 {
        let count = report.updates.len();
        let what = format!("the highest rate of updates held with p99 ≤ {HELD_MS:.0} ms");
        add(figure(&report.updates, |climbed| highest_held(climbed))
            .map(|f| Row::new("P2", what, None, "a second", 0, f).runs(count)));
    }
    let saturated = &report.saturated;
    let what = "SQL statements for each update that is told, with more updates than can be told";
    let bound = Some(AtMost(0.02));
    let count = saturated.len();
    add(figure(saturated, |steady| steady.statements_an_update)
        .map(|f| Row::new("P3", what, bound, "", 4, f).runs(count)));
    if let Some((rate, steady)) = rates.iter().find(|(rate, _)| *rate == UPDATES_A_SECOND) {
        let (what, count) = (format!("SQL statements for each update at {} a second", grouped(*rate, 0)), steady.len());
        add(figure(steady, |steady| steady.statements_an_update)
            .map(|f| Row::new("P3", what, Some(AtMost(0.2)), "", 3, f).runs(count)));
    }
    if let Some(engines) = &report.engines {
        engine_rows(engines, &mut add);
    }

    let (memory, count) = (&report.memory, report.memory.len());
    let what = format!("resident memory of a proxy for each of {half} idle peers, after the storm");
    add(figure(memory, |memory| memory.most_a_peer() / 1024.0)
        .map(|f| Row::new("P5", what, Some(AtMost(8.0)), "KiB", 1, f).runs(count)));

    if let Some(hub) = &report.hub {
        let what = format!("a hub with {} tunnels comes back, until its view is whole", grouped(hub.tunnels as f64, 0));
        add(figure(&hub.view_seconds, |seconds| *seconds)
            .map(|f| Row::new("P7", what, Some(AtMost(2.0)), "s", 2, f).runs(hub.view_seconds.len())));
    }
    let (crashes, count) = (&report.crashes, report.crashes.len());
    let what = format!("Postgres is killed under {peers} peers: from taking connections until every view is right");
    add(figure(crashes, |crash| crash.seconds).map(|f| Row::new("P8", what, Some(AtMost(10.0)), "s", 2, f).runs(count)));
    let what = "websockets that are closed by that";
    add(figure(crashes, |crash| crash.closed as f64).map(|f| Row::new("P8", what, Some(Never), "", 0, f).runs(count)));
    let (resyncs, count) = (&report.resyncs, report.resyncs.len());
    let what = format!(
        "SQL statements after the LISTEN connection of a proxy with {half} peers ended, until all is right, beats aside"
    );
    add(figure(resyncs, |resync| (resync.statements.all - resync.statements.beats) as f64)
        .map(|f| Row::new("P9", what, Some(AtMost(40.0)), "", 0, f).runs(count)));
    if let Some(idle) = &report.idle {
        let what = format!("CPU of an idle proxy with {} connected agents", grouped(idle.agents as f64, 0));
        let share = figure(&idle.intervals, |cpu| cpu.proxies[0] / cpu.seconds * 100.0);
        add(share.map(|f| Row::new("P10", what, Some(AtMost(5.0)), "% of a core", 1, f).runs(idle.intervals.len())));
    }
    rows.sort_by_key(|row| row.name.trim_start_matches('P').parse::<u32>().unwrap_or(u32::MAX));
    rows
}

/// Those that are measured at the database.
fn engine_rows(engines: &Engines, add: &mut impl FnMut(Option<Row>)) {
    use Bound::{AtLeast, AtMost, Never};
    let found = &engines.found;
    let bystanders = found.fan_out.extension().and_then(|extension| extension.bystanders.as_ref());
    let what = "SQL statements of proxies without interest, for each update";
    add(bystanders
        .map(|bystanders| Row::new("P3", what, Some(Never), "", 0, bystanders.statements).runs(found.fan_out.rounds)));
    let prior = [
        (&found.fan_out.ratios, "the prior design", Some(AtLeast(10.0))),
        (&found.fan_out.ratios_tuned, "the same tuned", None),
    ];
    for (ratios, design, bound) in prior {
        let Some(ratios) = ratios else { continue };
        let coordinators = found.fan_out.coordinators;
        let what = format!("updates fanned out a second by {coordinators} coordinators, ours ÷ {design}");
        add(Some(Row::new("P4", what, bound, "", 1, ratios.updates).runs(found.fan_out.rounds)));
        let what = format!("CPU of Postgres for each update, {design} ÷ ours");
        add(Some(Row::new("P4", what, bound, "", 1, ratios.postgres_cpu).runs(found.fan_out.rounds)));
    }
    if let Some(point) = found.size.points.last() {
        let what =
            format!("time of an update at the database among {} peers ÷ among 10,000", grouped(point.peers as f64, 0));
        add(Some(Row::new("P6", what, Some(AtMost(1.3)), "", 2, point.random.ratio).runs(found.size.rounds)));
        add(Some(
            Row::new("P6", "the same, CPU", Some(AtMost(1.3)), "", 2, point.random.cpu_ratio).runs(found.size.rounds),
        ));
    }
    for (what, of) in [("time", Case::time as fn(&Case) -> Figure), ("CPU", Case::cpu)] {
        let ratios = found.hub.cases.iter().map(of);
        let worst = ratios.max_by(|one, other| one.median.total_cmp(&other.median));
        let tunnels = grouped(found.hub.tunnels as f64, 0);
        let what = format!("{what} of an agent's update with a hub of {tunnels} tunnels ÷ without, the worst case");
        add(worst.map(|ratio| Row::new("P7", what, Some(AtMost(1.2)), "", 2, ratio).runs(found.hub.rounds)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crash::Crash;

    #[test]
    fn the_median_is_held_against_the_target_and_never_means_never() {
        let row = |bound, samples: &[f64]| Row::new("P1", "w", Some(bound), "s", 1, Figure::of(samples.to_vec()));
        assert_eq!(row(Bound::AtMost(10.0), &[9.0, 10.0, 12.0]).met, Some(true));
        assert_eq!(row(Bound::AtMost(10.0), &[9.0, 10.1, 12.0]).verdict(), "**missed**");
        assert_eq!(row(Bound::AtLeast(10.0), &[12.0]).met, Some(true));
        assert_eq!(row(Bound::Never, &[0.0, 0.0, 1.0]).met, Some(false));
        assert_eq!(row(Bound::AtMost(0.02), &[0.5]).target(), "≤ 0.02 s");
        assert_eq!(row(Bound::AtMost(1.2), &[1.0, 2.0, 3.0]).measured(), "2.0 s (1.0–3.0)");
    }

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
