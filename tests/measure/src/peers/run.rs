//! One run: it measures, and says what it found.

use anyhow::{Result, bail};
use tailnet_tools::program::or_stopped;

use crate::{
    common::progress::Progress,
    peers::{campaign, options::Options, page, plot, report::Report, target},
};

/// A run that fails or is stopped keeps what it has measured, but does not become the documentation.
pub async fn run(options: &Options) -> Result<()> {
    let (mut report, progress) = (Report::default(), Progress::new(campaign::steps(options)));
    let done = or_stopped(campaign::run(options, &mut report, &progress)).await;
    progress.finish();
    if report.storms.is_empty() && report.protocols.is_empty() && report.engines.is_none() {
        return done.and_then(|()| bail!("nothing was measured"));
    }
    target::write(&report, &options.json)?;
    print!("{}", page::terminal::summary(&report));
    eprintln!("written: {}", options.json.display());
    done?;
    if options.is_full() {
        page::files::write(&report, &options.clone)
    } else {
        plot::run::write(&report, options.json.parent().unwrap_or(&options.clone))
    }
}
