//! How far the run is, on stderr.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing_subscriber::fmt::MakeWriter;

/// A bar on a terminal; elsewhere a line for each phase. Log lines go through it, so that they do not tear the bar.
#[derive(Debug, Clone)]
pub struct Progress(ProgressBar);

impl Default for Progress {
    /// Nothing has begun.
    fn default() -> Self {
        let style = ProgressStyle::with_template("{elapsed_precise} {bar:30} {pos}/{len} {wide_msg}")
            .expect("the template is well-formed");
        Self(ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden()).with_style(style))
    }
}

impl Progress {
    /// A phase of so many steps begins.
    pub fn phase(&self, name: &str, steps: u64) {
        if io::stderr().is_terminal() && self.0.is_hidden() {
            self.0.set_draw_target(ProgressDrawTarget::stderr());
            self.0.enable_steady_tick(Duration::from_millis(500));
        }
        self.line(&format!("==> {name}"));
        self.0.set_length(steps);
        self.0.set_position(0);
        self.0.set_message(name.to_owned());
    }

    /// One step was made.
    pub fn step(&self) {
        self.0.inc(1);
    }

    /// A line for people.
    pub fn line(&self, text: &str) {
        self.0.suspend(|| eprintln!("{text}"));
    }

    /// A line of what was asked for, to stdout.
    pub fn say(&self, text: &str) {
        self.0.suspend(|| println!("{text}"));
    }

    /// Nothing follows.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}

impl Write for &Progress {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(text))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl<'a> MakeWriter<'a> for Progress {
    type Writer = &'a Progress;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}
