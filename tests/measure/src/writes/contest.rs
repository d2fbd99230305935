//! Methods that do the same work, in interleaved rounds.

use std::time::Instant;

use crate::{
    common::{figure::Figure, meter::Meter, progress::Progress},
    writes::way::{WAYS, Way, Writer},
};
use anyhow::{Result, ensure};
use serde::Serialize;

/// How one method did.
#[derive(Debug, Serialize)]
pub struct Entry {
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

/// Runs the rounds, each way with other entries. Each round begins with another way, so that nobody always follows the
/// same one. Fails also when a way does not write what it should.
pub async fn contest<W: Writer>(
    meter: &Meter,
    progress: &Progress,
    rounds: usize,
    writer: &W,
    mut entries: impl FnMut() -> Vec<W::Entry>,
) -> Result<Vec<Entry>> {
    let [mut off, mut on] = [(); 2].map(|()| vec![Vec::new(); WAYS.len()]);
    for round in 0..rounds {
        for (full_page_writes, samples) in [(false, &mut off), (true, &mut on)] {
            for place in 0..WAYS.len() {
                let index = (place + round * 2) % WAYS.len();
                let name = WAYS[index].name(W::FUNCTION);
                progress.step(&format!("round {}: {name}", round + 1));
                meter.start_over(full_page_writes).await?;
                let (wal, began) = (meter.wal().await?, Instant::now());
                let entries = entries();
                let written = WAYS[index].write(writer, &entries).await?;
                let seconds = began.elapsed().as_secs_f64();
                let wal = meter.wal().await? - wal;
                ensure!(written == entries.len() as u64, "{name} wrote {written} of {} rows", entries.len());
                let rows = written as f64;
                samples[index].push(Sample { rows_a_second: rows / seconds, wal_a_row: wal / rows });
            }
        }
    }
    let entry = |(index, way): (usize, &Way)| Entry {
        method: way.name(W::FUNCTION),
        pages_off: score(&off, index),
        pages_on: score(&on, index),
    };
    Ok(WAYS.iter().enumerate().map(entry).collect())
}

/// Steps that a contest takes.
pub fn steps(rounds: usize) -> usize {
    rounds * WAYS.len() * 2
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
