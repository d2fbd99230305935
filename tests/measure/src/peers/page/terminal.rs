//! The table on the terminal.

use std::fmt::Write as _;

use crate::peers::{report::Report, target::rows};

pub fn summary(report: &Report) -> String {
    let rows = rows(report);
    let cells: Vec<[String; 4]> = rows
        .iter()
        .map(|row| {
            [format!("{:4} {}", row.name, row.what), row.target(), row.measured(), row.verdict().replace('*', "")]
        })
        .collect();
    let width = |column: usize| cells.iter().map(|cell| cell[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 3] = std::array::from_fn(width);
    let mut text = String::new();
    if !report.is_full {
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
    if let Some(others) = report.disturbance() {
        let _ = writeln!(text, "all else that the machine did took {} % of a core", others.brief(0));
    }
    if let Some(storm) = report.storms.last() {
        let _ = writeln!(text, "storm: {}", storm.cpu);
    }
    for (rate, steady) in report.rates() {
        if let Some(steady) = steady.last() {
            let _ = writeln!(text, "{rate:.0} updates a second: {}", steady.cpu);
        }
    }
    if let Some(steady) = report.saturated.last() {
        let _ = writeln!(text, "saturated, {:.0} updates told a second: {}", steady.told_per_second, steady.cpu);
    }
    text
}
