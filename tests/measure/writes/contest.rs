//! Methods that do the same work, in interleaved rounds.

use std::time::Instant;

use anyhow::Result;
use serde::Serialize;
use tailnet_measure::{figure::Figure, meter::Meter, progress::Progress};

/// A way to write rows.
pub trait Method {
    /// For people.
    fn name(&self) -> String;
}

/// How one method did.
#[derive(Debug, Serialize)]
pub struct Entry {
    /// Which.
    pub method: String,
    /// With `full_page_writes` off.
    pub pages_off: Score,
    /// With `full_page_writes` on.
    pub pages_on: Score,
}

/// What a method was measured at.
#[derive(Debug, Serialize)]
pub struct Score {
    /// Rows written, by one connection.
    pub rows_a_second: Figure,
    /// That against the first method, in the same round.
    pub times_first: Figure,
    /// Bytes of WAL for each row.
    pub wal_a_row: Figure,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    rows_a_second: f64,
    wal_a_row: f64,
}

/// Runs the rounds. Each begins with another method, so that nobody always follows the same one.
///
/// # Errors
/// When a method fails.
pub async fn contest<M: Method>(
    meter: &Meter,
    progress: &Progress,
    rounds: usize,
    methods: &[M],
    mut write: impl AsyncFnMut(&M) -> Result<usize>,
) -> Result<Vec<Entry>> {
    let mut off = vec![Vec::new(); methods.len()];
    let mut on = vec![Vec::new(); methods.len()];
    for round in 0..rounds {
        for (full_page_writes, samples) in [(false, &mut off), (true, &mut on)] {
            for place in 0..methods.len() {
                let index = (place + round * 2) % methods.len();
                progress.step(&format!("round {}: {}", round + 1, methods[index].name()));
                meter.start_over(full_page_writes).await?;
                let (wal, began) = (meter.wal().await?, Instant::now());
                let rows = write(&methods[index]).await? as f64;
                let seconds = began.elapsed().as_secs_f64();
                let wal = meter.wal().await? - wal;
                samples[index].push(Sample { rows_a_second: rows / seconds, wal_a_row: wal / rows });
            }
        }
    }
    let entry = |index: usize| Entry {
        method: methods[index].name(),
        pages_off: score(&off, index),
        pages_on: score(&on, index),
    };
    Ok((0..methods.len()).map(entry).collect())
}

/// Steps that a contest takes.
pub fn steps(rounds: usize, methods: usize) -> usize {
    rounds * methods * 2
}

fn score(samples: &[Vec<Sample>], index: usize) -> Score {
    let own = &samples[index];
    let rates = own.iter().map(|sample| sample.rows_a_second);
    let ratios = own.iter().zip(&samples[0]).map(|(own, first)| own.rows_a_second / first.rows_a_second);
    Score {
        rows_a_second: Figure::of(rates.collect()),
        times_first: Figure::of(ratios.collect()),
        wal_a_row: Figure::of(own.iter().map(|sample| sample.wal_a_row).collect()),
    }
}
