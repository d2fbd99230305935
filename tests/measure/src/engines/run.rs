//! One run: it measures what is asked for, and prints the figures.

use anyhow::Result;

use crate::{
    common::progress::Progress,
    engines::{
        fan_out, hub,
        options::{Command, FanOut, Options, Size},
        report::Report,
        size,
    },
};

/// Figures go to stdout, as JSON.
pub async fn run(options: &Options) -> Result<()> {
    let (progress, quick) = (Progress::new(0), options.quick);
    let mut report = Report::begin(quick).await?;
    match &options.command {
        Command::FanOut(fan_out) => report.fan_out = Some(fan_out::run(fan_out, quick, &progress).await?),
        Command::Size(size) => report.size = Some(size::run(size, quick, &progress).await?),
        Command::Hub => report.hub = Some(hub::run(quick, &progress).await?),
        Command::All => {
            report.fan_out = Some(fan_out::run(&FanOut::default(), quick, &progress).await?);
            report.size = Some(size::run(&Size::default(), quick, &progress).await?);
            report.hub = Some(hub::run(quick, &progress).await?);
        }
    }
    progress.finish();
    println!("{}", serde_json::to_string_pretty(&report)?);
    Ok(())
}
