//! What a run has shown.

use std::{collections::BTreeMap, fmt, time::Duration};

use crate::{fault::Kind, fleet::Totals};

/// Figures of all rounds.
#[derive(Debug, Default)]
pub struct Tally {
    /// Rounds that everything was right after.
    pub rounds: u32,
    /// Last words of peers that were compared with the tables.
    pub words: usize,
    injected: BTreeMap<Kind, u32>,
    /// Times to converge, by what was injected.
    converged: BTreeMap<String, Vec<Duration>>,
}

impl Tally {
    /// A round is over.
    pub fn add(&mut self, kinds: &[Kind], converged: Duration, words: usize) {
        self.rounds += 1;
        self.words += words;
        for kind in kinds {
            *self.injected.entry(*kind).or_default() += 1;
        }
        // Of two faults at once nobody knows which took its time.
        let name = if let [kind] = kinds { kind.to_string() } else { "two at once".to_owned() };
        self.converged.entry(name).or_default().push(converged);
    }

    /// For people.
    pub fn summary(&self, seed: u64, totals: Totals, peers: usize) -> Summary<'_> {
        Summary { tally: self, seed, totals, peers }
    }
}

/// All of it as text.
#[derive(Debug)]
pub struct Summary<'a> {
    tally: &'a Tally,
    seed: u64,
    totals: Totals,
    peers: usize,
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tally, seed, totals, peers } = self;
        let faults: u32 = tally.injected.values().sum();
        writeln!(f, "seed {seed}: {} rounds, {faults} faults, {peers} peers", tally.rounds)?;
        writeln!(
            f,
            "requests sent {}, updates received and checked {}, last words compared {}",
            totals.requests, totals.updates, tally.words
        )?;
        let injected: Vec<String> = tally.injected.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        writeln!(f, "injected: {}", injected.join(", "))?;
        writeln!(f, "{:20} {:>6} {:>10} {:>10}", "seconds to converge", "rounds", "median", "worst")?;
        for (name, times) in &tally.converged {
            let mut times = times.clone();
            times.sort_unstable();
            let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
            writeln!(f, "{name:20} {:6} {:10.2} {:10.2}", times.len(), median.as_secs_f64(), worst.as_secs_f64())?;
        }
        Ok(())
    }
}
