//! What a run measures.

use std::{fmt, time::Duration};

use serde::Serialize;
use tailnet_tools::latencies::Latencies;

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

/// The websockets of the phase load. Its times count from its beginning.
#[derive(Debug, Default, Serialize)]
pub struct Connects {
    pub connected: usize,
    pub last_connect_seconds: f64,
    pub connects_per_second: f64,
    /// Each connect, with its check of the token.
    pub connect_ms: Latencies,
}

impl Connects {
    /// A websocket was opened, `since` the phase began.
    pub fn add(&mut self, took: Duration, since: Duration) {
        self.connect_ms.add(took);
        self.connected += 1;
        self.last_connect_seconds = since.as_secs_f64();
        self.connects_per_second = self.connected as f64 / since.as_secs_f64();
    }
}

/// As the first part of a line.
impl fmt::Display for Connects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connected, last_connect_seconds, connects_per_second, .. } = self;
        write!(f, "{connected} connected in {last_connect_seconds:.2} s ({connects_per_second:.0} a second)")
    }
}
