//! The options, all of them.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// How agent connections and connection logs are written and read
///
/// TAILNET_TEST_DATABASE_URL is the superuser's URL of a private Postgres with pg_tailnet; its settings are changed: "make
/// bench-writes" starts and removes one.
#[derive(Debug, Args)]
pub struct Options {
    #[command(subcommand)]
    pub only: Option<Only>,
    /// How often each method is measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..))]
    pub rounds: u8,
    /// Markdown file that gets the figures as a section
    #[arg(long, value_name = "FILE", default_value = "docs/performance.md")]
    pub markdown: PathBuf,
    /// File that gets them as JSON
    #[arg(long, value_name = "FILE", default_value = ".data/out/bench-writes.json")]
    pub json: PathBuf,
}

#[derive(Debug, Clone, Copy, Subcommand)]
pub enum Only {
    /// Measure the ways to write connection logs only, and print the figures as JSON
    Logs,
}
