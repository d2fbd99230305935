//! All that was measured.

use serde::Serialize;

use crate::{
    common::{figure::Figure, machine::Machine},
    peers::{
        crash::Crash,
        database::Engines,
        hub::Hub,
        idle::Idle,
        listener::Resync,
        protocols::Both,
        resident::Resident,
        storm::Storm,
        updates::{Quantiles, Steady},
    },
};

/// What one run found, as far as it came.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub machine: Option<Machine>,
    /// With as many peers, parts and rounds as the targets are for.
    pub is_full: bool,
    /// Peers of the rounds.
    pub peers: usize,
    /// One a round, as in what follows.
    pub storms: Vec<Storm>,
    pub memory: Vec<Resident>,
    pub idle: Option<Idle>,
    /// In each round one rate after the other.
    pub updates: Vec<Vec<Steady>>,
    /// Two peers meet.
    pub contacts: Vec<Quantiles>,
    /// More updates than can be told.
    pub saturated: Vec<Steady>,
    pub resyncs: Vec<Resync>,
    pub crashes: Vec<Crash>,
    pub hub: Option<Hub>,
    /// Peers of both protocols, one a round.
    pub protocols: Vec<Both>,
    pub engines: Option<Engines>,
    /// What it took to measure all that.
    pub seconds: f64,
}

impl Report {
    /// Percent of one core that all other processes of the machine used during storms and updates; None: there were none.
    pub fn disturbance(&self) -> Option<Figure> {
        let storms = self.storms.iter().map(|storm| &storm.cpu);
        let cpus: Vec<_> = storms.chain(self.updates.iter().flatten().map(|steady| &steady.cpu)).collect();
        Figure::over(&cpus, |cpu| cpu.others / cpu.seconds * 100.0)
    }

    /// The rates of all rounds: each with what the rounds measured.
    pub fn rates(&self) -> Vec<(f64, Vec<&Steady>)> {
        let mut rates = Vec::<(f64, Vec<&Steady>)>::new();
        for steady in self.updates.iter().flatten() {
            match rates.iter_mut().find(|(rate, _)| *rate == steady.per_second) {
                Some((_, all)) => all.push(steady),
                None => rates.push((steady.per_second, vec![steady])),
            }
        }
        rates.sort_by(|one, other| one.0.total_cmp(&other.0));
        rates
    }
}
