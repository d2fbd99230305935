//! How far the run is, on stderr.

use std::{io::IsTerminal, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on a terminal; elsewhere only the line of each round.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// Of this many rounds.
    pub fn new(rounds: u32) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let style = ProgressStyle::with_template("{elapsed_precise} {bar:30} {pos}/{len} {wide_msg}")
            .expect("the template is well-formed");
        let bar = ProgressBar::new(rounds.into()).with_style(style);
        bar.enable_steady_tick(Duration::from_millis(500));
        Self(bar)
    }

    /// This is being done.
    pub fn now(&self, what: &str) {
        self.0.set_message(what.to_owned());
    }

    /// This was done.
    pub fn line(&self, text: &str) {
        if self.0.is_hidden() { eprintln!("{text}") } else { self.0.println(text) }
    }

    /// The next round.
    pub fn step(&self) {
        self.0.inc(1);
    }

    /// Nothing follows.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}
