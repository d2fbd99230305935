//! A figure that was measured several times.

use serde::{Deserialize, Serialize};

/// Median and spread over the rounds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Figure {
    /// The middle one, or the mean of the two in the middle.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

impl Figure {
    /// Of what the rounds measured.
    pub fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let (first, last) = (samples.first().expect("there was a round"), samples.last().expect("there was a round"));
        let (low, high) = (samples[(samples.len() - 1) / 2], samples[samples.len() / 2]);
        Self { median: f64::midpoint(low, high), min: *first, max: *last }
    }

    /// Of what each round measured; None: there was no round.
    pub fn over<T>(rounds: &[T], of: impl Fn(&T) -> f64) -> Option<Self> {
        (!rounds.is_empty()).then(|| Self::of(rounds.iter().map(of).collect()))
    }

    /// For a table, without brackets when all rounds agree.
    pub fn brief(&self, digits: usize) -> String {
        if self.min == self.max { grouped(self.median, digits) } else { self.shown(digits) }
    }

    /// For a table: `median (min–max)`.
    pub fn shown(&self, digits: usize) -> String {
        format!("{} ({}–{})", grouped(self.median, digits), grouped(self.min, digits), grouped(self.max, digits))
    }
}

/// A number with commas between its thousands.
pub fn grouped(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), None), |(whole, part)| (whole, Some(part)));
    let mut shown = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 && !shown.ends_with('-') {
            shown.push(',');
        }
        shown.push(digit);
    }
    fraction.map_or(shown.clone(), |fraction| format!("{shown}.{fraction}"))
}
