//! A run, round after round.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use indicatif::{ProgressBar, ProgressStyle};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tailnet_tools::checking::Oracle;
use tokio::time::sleep;

use crate::{
    effects::Effects,
    fault::{Deck, Kind},
    fleet::Fleet,
    inject,
    leaks::Bounds,
    options::Options,
    tally::Tally,
    verdict,
    world::World,
};

/// How many lines of each proxy's log are shown when a round has failed.
const LOG_LINES: usize = 60;

/// How long the fleet works before the first fault, and before each later one in milliseconds.
const WARM_UP: Duration = Duration::from_secs(3);
const BEFORE: std::ops::Range<u64> = 500..2000;

#[derive(Debug)]
pub struct Campaign {
    options: Options,
    world: World,
    fleet: Fleet,
    bounds: Bounds,
    tally: Tally,
    progress: ProgressBar,
    rng: StdRng,
}

struct Round {
    converged: Duration,
    words: usize,
}

impl Campaign {
    /// Runs all rounds, or up to the first that fails.
    pub async fn run(options: Options) -> Result<()> {
        let seed = options.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
        let again = options.command(seed);
        let progress = bar(options.rounds);
        progress.suspend(|| eprintln!("seed {seed}, {} rounds, {} peers: {again}", options.rounds, options.peers));
        let mut rng = StdRng::seed_from_u64(seed);
        let world = World::start(&options.cluster_prefix).await?;
        let fleet = Fleet::create(&world, options.peers as usize, &mut rng).await?;
        let (bounds, tally) = (Bounds::default(), Tally::default());
        let mut campaign = Self { options, world, fleet, bounds, tally, progress, rng };
        let done = campaign.rounds().await;
        campaign.progress.finish_and_clear();
        let Self { world, fleet, tally, .. } = campaign;
        if let Err(error) = done {
            eprintln!("{}\n{error:?}\n\nrun it again: {again}", world.logs(LOG_LINES).await);
            return Err(error.context(format!("failed; run it again with: {again}")));
        }
        print!("{}", tally.summary(seed, fleet.totals(), fleet.peers.len()));
        drop(fleet);
        world.stop().await?;
        println!("faults: ok ({} rounds, seed {seed})", tally.rounds);
        Ok(())
    }

    async fn rounds(&mut self) -> Result<()> {
        let mut deck = Deck::new(self.options.kinds());
        self.progress.set_message("peers connect");
        self.fleet.work();
        sleep(WARM_UP).await;
        self.settle(&Effects::default(), Instant::now()).await.context("before the first fault")?;
        for number in 1..=self.options.rounds {
            let kinds = deck.deal(&mut self.rng);
            let (name, begun) = (names(&kinds), Instant::now());
            self.progress.set_message(name.clone());
            let round = self.round(&kinds).await;
            let Round { converged, words } = round.with_context(|| format!("round {number} ({name}) failed"))?;
            self.tally.add(&kinds, converged, words);
            self.progress.inc(1);
            let line = format!(
                "round {number}/{}: {name}, right again after {:.2} s ({} peers connected, {words} views compared, {:.1} s)",
                self.options.rounds,
                converged.as_secs_f64(),
                self.fleet.totals().connected,
                begun.elapsed().as_secs_f64(),
            );
            self.progress.suspend(|| eprintln!("{line}"));
        }
        Ok(())
    }

    async fn round(&mut self, kinds: &[Kind]) -> Result<Round> {
        self.fleet.work();
        sleep(Duration::from_millis(self.rng.random_range(BEFORE))).await;
        let victims = inject::victims(&self.world, &mut self.rng);
        let rngs: Vec<StdRng> = kinds.iter().map(|_| StdRng::seed_from_u64(self.rng.random())).collect();
        let faults = kinds
            .iter()
            .zip(victims)
            .zip(rngs)
            .map(|((kind, victim), rng)| inject::inject(*kind, &self.world, &self.fleet, victim, rng));
        let effects = try_join_all(faults).await?.into_iter().fold(Effects::default(), Effects::and);
        let round = self.settle(&effects, Instant::now()).await?;
        self.world.mend().await?;
        Ok(round)
    }

    /// Lets the fleet rest, and looks at everything.
    async fn settle(&mut self, effects: &Effects, healed: Instant) -> Result<Round> {
        let Self { world, fleet, options, .. } = self;
        self.progress.set_message("peers come to rest");
        fleet.rest(options.converge_deadline).await?;
        if effects.emptied {
            fleet.peers.iter().for_each(|peer| peer.account().tables_were_emptied());
        }
        let left = options.converge_deadline.saturating_sub(healed.elapsed());
        let mut oracle = Oracle::new(world.superuser());
        let agreement = oracle.agree(&fleet.peers, &world.names(), left).await?;
        let converged = healed.elapsed();
        verdict::judge(fleet, effects)?;
        for slot in &world.slots {
            slot.check().await?;
        }
        self.bounds.check(world).await?;
        fleet.peers.iter().for_each(|peer| peer.account().settle());
        Ok(Round { converged, words: agreement.words })
    }
}

fn names(kinds: &[Kind]) -> String {
    kinds.iter().map(Kind::to_string).collect::<Vec<_>>().join(" and ")
}

/// How many rounds are done. Only a terminal shows it.
fn bar(rounds: u32) -> ProgressBar {
    let style = ProgressStyle::with_template("{elapsed_precise} {bar:30} {pos}/{len} {wide_msg}");
    let bar = ProgressBar::new(rounds.into()).with_style(style.expect("the template is well-formed"));
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}
