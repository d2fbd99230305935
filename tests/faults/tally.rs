//! What a run has shown.

use std::{collections::BTreeMap, time::Duration};

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
    pub fn add(&mut self, kinds: &[Kind], converged: Duration, words: usize) {
        self.rounds += 1;
        self.words += words;
        for kind in kinds {
            *self.injected.entry(*kind).or_default() += 1;
        }
        // When two faults come at once, it is not known which of them took the time.
        let name = if let [kind] = kinds { kind.to_string() } else { "two at once".to_owned() };
        self.converged.entry(name).or_default().push(converged);
    }

    pub fn summary(&self, seed: u64, totals: Totals, peers: usize) -> String {
        let faults: u32 = self.injected.values().sum();
        let injected: Vec<String> = self.injected.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        let mut text = format!(
            "seed {seed}: {} rounds, {faults} faults, {peers} peers\n\
             requests sent {}, updates received and checked {}, last words compared {}\n\
             injected: {}\n{:20} {:>6} {:>10} {:>10}\n",
            self.rounds,
            totals.requests,
            totals.updates,
            self.words,
            injected.join(", "),
            "seconds to converge",
            "rounds",
            "median",
            "worst",
        );
        for (name, times) in &self.converged {
            let mut times: Vec<f64> = times.iter().map(Duration::as_secs_f64).collect();
            times.sort_unstable_by(f64::total_cmp);
            let (rounds, median, worst) = (times.len(), times[times.len() / 2], times[times.len() - 1]);
            text += &format!("{name:20} {rounds:6} {median:10.2} {worst:10.2}\n");
        }
        text
    }
}
