//! What one subcommand lets its peers do.

use std::fmt;

use anyhow::Result;
use serde::Serialize;

use crate::{common::Common, metrics::Metrics, report::Connects, run::Run};

/// The part of a run between its beginning and its cleanup.
pub trait Scenario: Send + Sync + 'static {
    /// What it measures.
    type Figures: Figures;

    /// The options that it shares with others.
    fn common(&self) -> &Common;

    /// How many peers, which is to say websockets.
    fn peers(&self) -> usize;

    /// How many of those pass or fail together.
    fn runners(&self) -> usize;

    /// Files that are open at the same time.
    fn files(&self) -> usize {
        self.peers()
    }

    /// The figures of a run that begins.
    fn figures(&self, metrics: &Metrics) -> Self::Figures;

    /// Everything that the peers do. When this is dropped, they stop.
    ///
    /// # Errors
    /// When a runner failed, or nobody could.
    async fn phases(&self, run: &Run<Self::Figures>) -> Result<()>;
}

/// What is measured in a run: the part of the report that only one subcommand has. [`fmt::Display`] is its part of the
/// text.
pub trait Figures: fmt::Display + Serialize + Send + 'static {
    /// Where each connect is noted.
    fn connects(&mut self) -> &mut Connects;

    /// How far a phase came that has taken `seconds` so far; None: there is no more to say than its name.
    fn how_far(&self, phase: &str, seconds: f64, pairs: usize) -> Option<String>;

    /// What the summary says of it.
    fn in_short(&self) -> Option<String> {
        None
    }
}
