//! One target of the project, and what was measured of it.

use serde::Serialize;

use crate::common::figure::{Figure, grouped};

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
    /// `unit` comes with the digits after the point.
    pub fn new(
        name: &'static str,
        what: impl Into<String>,
        bound: Option<Bound>,
        (unit, digits): (&'static str, usize),
        figure: Figure,
        runs: usize,
    ) -> Self {
        let met = bound.map(|bound| bound.is_met(&figure));
        Self { name, what: what.into(), bound, unit, figure, runs, met, digits }
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
        let (unit, shown) = (spaced(self.unit), |value| grouped(value, self.digits));
        let spread = if min == max { String::new() } else { format!(" ({}–{})", shown(min), shown(max)) };
        format!("{}{unit}{spread}", shown(median))
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

/// With as many digits as it takes, three at the most.
fn plain(value: f64) -> String {
    let digits = (0..3).find(|digits| (value * 10_f64.powi(*digits)).fract() == 0.0).unwrap_or(3);
    grouped(value, digits.unsigned_abs() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_held_against_the_target_and_never_means_never() {
        let row = |bound, samples: &[f64]| {
            Row::new("P1", "w", Some(bound), ("s", 1), Figure::of(samples.to_vec()), samples.len())
        };
        assert_eq!(row(Bound::AtMost(10.0), &[9.0, 10.0, 12.0]).met, Some(true));
        assert_eq!(row(Bound::AtMost(10.0), &[9.0, 10.1, 12.0]).verdict(), "**missed**");
        assert_eq!(row(Bound::AtLeast(10.0), &[12.0]).met, Some(true));
        assert_eq!(row(Bound::Never, &[0.0, 0.0, 1.0]).met, Some(false));
        assert_eq!(row(Bound::AtMost(0.02), &[0.5]).target(), "≤ 0.02 s");
        assert_eq!(row(Bound::AtMost(1.2), &[1.0, 2.0, 3.0]).measured(), "2.0 s (1.0–3.0)");
    }
}
