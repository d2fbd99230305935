//! What the benchmark is doing, on stderr.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on a terminal; elsewhere a line for each phase.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// Of this many steps.
    pub fn new(steps: usize) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let style = ProgressStyle::with_template("{elapsed_precise} {bar:30} {pos}/{len} {wide_msg}")
            .expect("the template is well-formed");
        Self(ProgressBar::new(steps as u64).with_style(style))
    }

    /// A phase begins.
    pub fn phase(&self, name: &str) {
        if self.0.is_hidden() { eprintln!("==> {name}") } else { self.0.println(format!("==> {name}")) }
    }

    /// The next step begins.
    pub fn step(&self, name: &str) {
        self.0.set_message(name.to_owned());
        self.0.inc(1);
    }

    /// How far the step is; only a terminal shows it.
    pub fn now(&self, text: &str) {
        self.0.set_message(text.to_owned());
    }

    /// Nothing follows.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}
