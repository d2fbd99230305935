//! All figures.

use serde::Serialize;

use crate::{
    common::machine::Machine,
    writes::{contest::Entry, history::History, steady::Steady},
};

/// What one run found.
#[derive(Debug, Serialize)]
pub struct Report {
    pub machine: Machine,
    /// How often each method was measured.
    pub rounds: usize,
    /// Ways to write sightings.
    pub liveness: Vec<Entry>,
    /// Ways to write events of connections.
    pub logs: Vec<Entry>,
    /// Sightings of all agents with `full_page_writes` off, and on.
    pub steady: [Steady; 2],
    /// Years of connection logs.
    pub history: History,
}
