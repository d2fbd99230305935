//! The order of the parts. Each round has a database, proxies and load processes of its own, so that no round inherits
//! anything from the one before; within a round what disturbs most comes last.

use anyhow::{Context, Result};
use tailnet_harness::private_cluster::PrivateCluster;
use tailnet_tools::websocket::Protocol;
use tokio::time::{Instant, sleep};

use crate::{
    common::{machine::Machine, progress::Progress},
    peers::{
        contact, crash, database, hub, idle, listener,
        options::{Options, Part, Scale, UPDATES_A_SECOND},
        protocols,
        report::Report,
        resident::Resident,
        storm, target, updates,
        world::World,
    },
};

/// Runs the parts that are wanted. What was measured is in the report, whatever becomes of the rest.
/// Fails when something cannot be measured, or a peer was told what is not so.
pub async fn run(options: &Options, report: &mut Report, progress: &Progress) -> Result<()> {
    let (begin, scale) = (Instant::now(), options.scale());
    let cluster = PrivateCluster::existing(&options.cluster).await.context("tests/bench-run starts the cluster")?;
    (report.is_full, report.peers) = (options.is_full(), 2 * scale.pairs);
    let apart = [Part::Protocols, Part::Engines];
    let wants_rounds = options.only.is_empty() || options.only.iter().any(|part| !apart.contains(part));
    for number in (1..=scale.rounds).filter(|_| wants_rounds) {
        let mut round = Round { number, options, scale: &scale, report, progress };
        round.run(&cluster).await.with_context(|| format!("in round {number}"))?;
        report.seconds = begin.elapsed().as_secs_f64();
        target::write(report, &options.json)?;
    }
    if options.wants(Part::Protocols) {
        for number in 1..=scale.rounds {
            progress.step(&format!("v2 beside v1, {number} of {}", scale.rounds));
            let both = protocols::run(&cluster, &scale, number, progress).await.context("v2 beside v1")?;
            progress.phase(&both.to_string());
            report.protocols.push(both);
            target::write(report, &options.json)?;
        }
    }
    if options.wants(Part::Engines) {
        progress.phase("the cost at the database");
        // It has a bar of its own.
        progress.finish();
        report.engines = Some(database::run(&cluster, options.quick).await?);
    }
    report.seconds = begin.elapsed().as_secs_f64();
    target::write(report, &options.json)
}

/// How many steps a bar has.
pub fn steps(options: &Options) -> usize {
    const EACH_ROUND: usize = 8;
    const ONCE: usize = 2;
    options.scale().rounds * EACH_ROUND + ONCE
}

struct Round<'a> {
    number: usize,
    options: &'a Options,
    scale: &'a Scale,
    report: &'a mut Report,
    progress: &'a Progress,
}

impl Round<'_> {
    async fn run(&mut self, cluster: &PrivateCluster) -> Result<()> {
        let Self { number, options, scale, report, progress } = self;
        let (number, scale) = (*number, *scale);
        let is_last = number == scale.rounds;
        progress.phase(&format!("round {number} of {}: {} peers", scale.rounds, 2 * scale.pairs));
        progress.step("making the peers");
        let mut world = World::create(cluster, scale.pairs, usize::from(options.proxies), Protocol::V1).await?;
        if report.machine.is_none() {
            report.machine = Some(Machine::look(&world.meter).await?);
        }
        let before = world.memory()?;
        progress.step("storm");
        let storm = storm::run(&mut world, progress).await?;
        progress.phase(&format!("storm: {:.2} s; {}", storm.seconds, storm.cpu));
        report.storms.push(storm);

        progress.step("settling");
        sleep(scale.settling).await;
        if options.wants(Part::Memory) {
            report.memory.push(Resident { peers: scale.pairs, before, after: world.memory()? });
        }
        if options.wants(Part::Idle) && number == 1 {
            progress.step("idle");
            report.idle = Some(idle::run(&mut world, scale).await?);
        }
        if options.wants(Part::Contact) {
            progress.step("first contacts");
            let contact = contact::run(&world, scale, number).await?;
            progress.phase(&format!("first contact: p50 {:.1} ms, p99 {:.1} ms", contact.p50, contact.p99));
            report.contacts.push(contact);
        }
        if options.wants(Part::Updates) || options.wants(Part::Rates) {
            progress.step("updates");
            let seed = 1000 * number as u64;
            let rates = if options.wants(Part::Rates) { scale.rates } else { &[UPDATES_A_SECOND] };
            let climbed = updates::climb(&mut world, scale, rates, seed, progress).await?;
            for steady in &climbed {
                let (rate, latency) = (steady.per_second, steady.latency_ms);
                progress.phase(&format!(
                    "{rate:.0} updates a second: p50 {:.1} ms, p99 {:.1} ms; {}",
                    latency.p50, latency.p99, steady.cpu
                ));
            }
            if options.wants(Part::Rates) {
                progress.now("more updates than can be told");
                let saturated = updates::saturate(&mut world, scale, &climbed, seed + 100).await?;
                progress.phase(&format!(
                    "saturated: {:.0} updates told a second; {}",
                    saturated.told_per_second, saturated.cpu
                ));
                report.saturated.push(saturated);
            }
            report.updates.push(climbed);
        }
        if options.wants(Part::Listener) {
            progress.step("the LISTEN connection ends");
            let resync = listener::run(&mut world).await?;
            progress.phase(&format!(
                "LISTEN connection ended: {} statements, {:.2} s",
                resync.statements.all, resync.seconds
            ));
            report.resyncs.push(resync);
        }
        if options.wants(Part::Crash) {
            progress.step("Postgres is killed");
            let crash = crash::run(&mut world, cluster).await?;
            progress.phase(&format!("Postgres killed: {:.2} s, {} websockets closed", crash.seconds, crash.closed));
            report.crashes.push(crash);
        }
        if options.wants(Part::Hub) && is_last {
            progress.step("a hub comes back");
            let hub = hub::run(&mut world, scale).await?;
            progress.phase(&format!("hub: {:.2?} s to a whole view", hub.view_seconds));
            report.hub = Some(hub);
        }
        world.remove().await
    }
}
