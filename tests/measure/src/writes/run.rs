//! One run: it measures phase after phase in one database.

use anyhow::Result;

use crate::{
    common::{json, machine::Machine, progress::Progress, section},
    writes::{
        contest, history, liveness, logs,
        options::{Only, Options},
        page,
        report::Report,
        steady,
        world::World,
    },
};

pub async fn run(options: &Options) -> Result<()> {
    match options.only {
        Some(Only::Logs) => only_logs(options).await,
        None => all(options).await,
    }
}

async fn only_logs(options: &Options) -> Result<()> {
    let rounds = usize::from(options.rounds);
    let progress = Progress::new(contest::steps(rounds));
    progress.phase("a network with 32,000 agents");
    let world = World::create().await?;
    progress.phase("connection logs");
    let entries = logs::run(&world, &progress, rounds).await?;
    progress.finish();
    println!("{}", serde_json::to_string_pretty(&entries)?);
    world.database.drop().await
}

async fn all(options: &Options) -> Result<()> {
    let rounds = usize::from(options.rounds);
    let steps = 2 * contest::steps(rounds) + 2 * steady::ROUNDS as usize + history::STEPS;
    let progress = Progress::new(steps);
    progress.phase("a network with 32,000 agents");
    let world = World::create().await?;
    let machine = Machine::look(&world.meter).await?;
    progress.phase("liveness");
    let liveness = liveness::run(&world, &progress, rounds).await?;
    progress.phase("connection logs");
    let logs = logs::run(&world, &progress, rounds).await?;
    progress.phase("steady state at the database");
    // So that autovacuum has nothing left to do for the phases before.
    world.meter.sql.batch_execute("VACUUM (ANALYZE)").await?;
    let steady = [steady::run(&world, &progress, false).await?, steady::run(&world, &progress, true).await?];
    progress.phase("ten million connections");
    let history = history::run(&world, &progress).await?;
    let report = Report { machine, rounds, liveness, logs, steady, history };
    progress.finish();
    section::write(&options.markdown, "bench-writes", &page::page(&report)?)?;
    json::write(&options.json, &report)?;
    eprintln!("written: {} and {}", options.markdown.display(), options.json.display());
    world.database.drop().await
}
