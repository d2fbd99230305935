//! The plots of a run.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use plotters::prelude::*;

use crate::{
    common::figure::{Figure, grouped},
    engines::measured::{REPLICAS, TUNED},
    peers::{
        database::Engines,
        plot::chart::{BLUE, GREEN, GREY, Line, ORANGE, Points, Root, SIZE, chart, drawing, plain, thousands},
        report::Report,
    },
};

/// Draws all of which there are figures into a folder.
pub fn write(report: &Report, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let draw = |name: &str, plot: &dyn Fn(&Root<'_>) -> Result<()>| -> Result<()> {
        let path = folder.join(name);
        let root = SVGBackend::new(&path, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(drawing)?;
        plot(&root)?;
        root.present().with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("written: {}", path.display());
        Ok(())
    };
    if !report.storms.is_empty() {
        draw("storm.svg", &|root| storm(report, root))?;
    }
    if !report.updates.is_empty() {
        draw("latency.svg", &|root| latency(report, root))?;
    }
    if !report.memory.is_empty() {
        draw("memory.svg", &|root| memory(report, root))?;
    }
    if let Some(engines) = &report.engines {
        draw("size.svg", &|root| size(engines, root))?;
    }
    Ok(())
}

fn storm(report: &Report, root: &Root<'_>) -> Result<()> {
    let seconds = report.storms.iter().map(|storm| storm.seconds).fold(0.0, f64::max) * 1.05;
    let mut lines = Vec::new();
    for (number, storm) in report.storms.iter().enumerate() {
        // One entry in the legend for all rounds.
        let label = |text: &str| if number == 0 { text.to_owned() } else { String::new() };
        let line = |of: fn(&crate::peers::storm::Point) -> usize| {
            storm.curve.iter().map(|point| (point.seconds, of(point) as f64)).collect()
        };
        lines.push(Line::new(&label("peers connected"), BLUE, line(|point| point.connected)));
        lines.push(Line::new(&label("views right"), ORANGE, line(|point| point.right)));
    }
    let rounds = match report.storms.len() {
        1 => String::new(),
        count => format!(" ({count} runs)"),
    };
    let title = format!("{} peers connect at once{rounds}", grouped(report.peers as f64, 0));
    let top = report.peers as f64 * 1.02;
    chart(
        root,
        &title,
        ("seconds", "peers"),
        (0.0..seconds, 0.0..top),
        (&|x| format!("{x:.0}"), &thousands),
        SeriesLabelPosition::LowerRight,
        &lines,
    )
}

fn latency(report: &Report, root: &Root<'_>) -> Result<()> {
    let rates = report.rates();
    let median = |of: fn(&crate::peers::updates::Steady) -> f64| {
        let points = rates
            .iter()
            .filter_map(|(rate, steady)| Some((*rate, Figure::over(steady, |steady| of(steady))?.median.max(0.1))));
        points.collect::<Points>()
    };
    let (p50, p99) = (median(|steady| steady.latency_ms.p50), median(|steady| steady.latency_ms.p99));
    let prior = |engine: &str| {
        let fan_out = report.engines.as_ref().and_then(|engines| engines.all.fan_out.as_ref());
        let measured = fan_out.and_then(|found| found.engines.iter().find(|measured| measured.engine == engine));
        measured.iter().flat_map(|measured| &measured.rates).map(|rate| (rate.per_second, rate.p50_ms.median)).collect()
    };
    let lines = [
        Line::new("pg_tailnet, from websocket to websocket, p99", GREEN, p99).marked(),
        Line::new("pg_tailnet, the same, p50", BLUE, p50).marked(),
        Line::new("prior design, without websockets, p50", ORANGE, prior(REPLICAS)).marked(),
        Line::new("prior design, tuned, p50", GREY, prior(TUNED)).marked(),
    ];
    let bounds = |of: fn(&(f64, f64)) -> f64| {
        let values = || lines.iter().flat_map(|line| &line.points).map(of);
        (values().fold(f64::MAX, f64::min), values().fold(0.0, f64::max))
    };
    let ((left, right), (least, most)) = (bounds(|point| point.0), bounds(|point| point.1));
    chart(
        root,
        "Latency of node updates against their rate",
        ("updates a second", "milliseconds, due to received by the partner"),
        ((left * 0.9..right * 1.1).log_scale(), (least * 0.7..most * 1.4).log_scale()),
        (&thousands, &plain),
        SeriesLabelPosition::UpperLeft,
        &lines,
    )
}

fn memory(report: &Report, root: &Root<'_>) -> Result<()> {
    let mebibytes = |bytes: f64| bytes / f64::from(1 << 20);
    let before = Figure::over(&report.memory, |memory| memory.before[0].rss as f64).map_or(0.0, |figure| figure.median);
    let peers = report.peers as f64 / 2.0;
    let of = |kibibytes: f64| vec![(0.0, mebibytes(before)), (peers, mebibytes(before + kibibytes * 1024.0 * peers))];
    let mut lines =
        vec![Line::new("30 KiB a peer, common", GREY, of(30.0)), Line::new("8 KiB a peer, the target", GREEN, of(8.0))];
    for (number, storm) in report.storms.iter().enumerate() {
        let label = if number == 0 { "during the storm" } else { "" };
        lines.push(Line::new(
            label,
            BLUE,
            storm.memory.iter().map(|point| (point.peers as f64, mebibytes(point.rss as f64))).collect(),
        ));
    }
    for (number, memory) in report.memory.iter().enumerate() {
        let label = if number == 0 { "at rest after it" } else { "" };
        lines.push(Line::new(label, ORANGE, vec![(peers, mebibytes(memory.after[0].rss as f64))]).marked());
    }
    let top = lines.iter().flat_map(|line| &line.points).map(|(_, y)| *y).fold(0.0, f64::max) * 1.05;
    let title = "Resident memory of the agents' proxy";
    chart(
        root,
        title,
        ("its peers", "MiB"),
        (0.0..peers * 1.03, 0.0..top),
        (&thousands, &|y| format!("{y:.0}")),
        SeriesLabelPosition::UpperLeft,
        &lines,
    )
}

fn size(engines: &Engines, root: &Root<'_>) -> Result<()> {
    let fan_outs = engines.fan_outs();
    let of = |engine: &str| {
        let measured = fan_outs.iter().filter_map(|fan_out| {
            let measured = fan_out.engines.iter().find(|measured| measured.engine == engine)?;
            Some((fan_out.peers as f64, measured.saturated.cost.postgres_us.median))
        });
        measured.collect::<Points>()
    };
    let points = engines.all.size.iter().flat_map(|size| &size.points);
    let large = points.map(|point| (point.peers as f64, point.random.large.cpu_us.median)).collect();
    let lines = [
        Line::new("prior design, four replicas saturated", ORANGE, of("replicas")).marked(),
        Line::new("prior design, tuned", GREY, of("replicas_tuned")).marked(),
        Line::new("pg_tailnet, four coordinators saturated", BLUE, of("extension")).marked(),
        Line::new("pg_tailnet, calls of 500 updates of random peers", GREEN, large).marked(),
    ];
    let points = || lines.iter().flat_map(|line| &line.points);
    let bounds = |values: Vec<f64>| {
        let (least, most) =
            values.iter().fold((f64::MAX, 1.0_f64), |(least, most), value| (least.min(*value), most.max(*value)));
        least * 0.7..most * 1.4
    };
    let x = bounds(points().map(|(x, _)| *x).collect());
    let y = bounds(points().map(|(_, y)| *y).collect());
    let title = "CPU of Postgres for each update, against the number of peers";
    chart(
        root,
        title,
        ("peers", "microseconds"),
        (x.log_scale(), y.log_scale()),
        (&thousands, &plain),
        SeriesLabelPosition::UpperRight,
        &lines,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::statements::Count;
    use crate::peers::{
        cpu::Cpu,
        storm::{Point, Storm},
    };

    #[test]
    fn a_plot_has_a_ground_and_what_it_shows() {
        let point = |seconds, connected, right| Point { seconds, connected, right };
        let statements = Count { all: 0, recurring: 0, by_text: Vec::new() };
        let storm = Storm {
            peers: 100,
            seconds: 2.0,
            statements_a_peer: 0.0,
            statements,
            cpu: Cpu::default(),
            put_off: 0,
            curve: vec![point(0.0, 0, 0), point(1.0, 100, 20), point(2.0, 100, 100)],
            memory: Vec::new(),
        };
        let report = Report { peers: 100, storms: vec![storm], ..Report::default() };
        let folder = std::env::temp_dir().join(format!("tailnet-bench-plots-{}", std::process::id()));
        write(&report, &folder).expect("drawn");
        let text = fs::read_to_string(folder.join("storm.svg")).expect("written");
        fs::remove_dir_all(&folder).expect("removed");
        assert!(text.contains("fill=\"#FFFFFF\""), "no ground");
        assert!(text.contains("views right") && text.contains("100 peers connect at once"));
    }
}
