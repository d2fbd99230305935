//! Phase: what an update costs among few peers, and among a million.
//!
//! One database keeps its size, another grows; calls to both are interleaved. The first point has both at the same size:
//! what it is off one is noise.

use std::time::Instant;

use anyhow::Result;
use rand::seq::index::sample;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    common::{figure::Figure, meter::Meter, progress::Progress},
    engines::{
        caller::{Caller, Cost, Series},
        crowd::Crowd,
        options::Size as Options,
    },
};

/// Updates in a call, the proxy's limit.
pub const BATCH: usize = 500;

/// Peers of the database that keeps its size.
const SMALL: usize = 10_000;

/// Agents of one proxy: all those of the small database, as many of the large one, scattered over its tables.
const OWN: usize = SMALL / 2;

/// What was found.
#[derive(Debug, Serialize, Deserialize)]
pub struct Size {
    /// Updates in a call.
    pub batch: usize,
    /// Interleaved rounds at each size.
    pub rounds: usize,
    /// Calls of each sort to each database in a round.
    pub calls: usize,
    /// `shared_buffers`, as Postgres has it.
    pub shared_buffers: String,
    /// Smallest first.
    pub points: Vec<Point>,
}

/// Both databases, one of them at this size.
#[derive(Debug, Serialize, Deserialize)]
pub struct Point {
    /// Peers of the one that grows.
    pub peers: usize,
    /// Seconds that it took to make those that are new.
    pub growing_seconds: f64,
    /// Its tables and indexes that an update touches.
    pub megabytes: f64,
    /// Peers that are drawn at random, other ones in each call.
    pub random: Compared,
    /// Peers of one proxy that holds 5,000 agents, other ones in each call; between two such calls there is one for random
    /// peers of all.
    pub own: Compared,
    /// The same peers in each call: all pages are in the buffers of Postgres, so what differs is not the cache.
    pub same: Compared,
}

/// An update among many peers, among few, and the one by the other.
#[derive(Debug, Serialize, Deserialize)]
pub struct Compared {
    /// Among many.
    pub large: Cost,
    /// Among 10,000.
    pub small: Cost,
    /// Of the time of an update, round by round.
    pub ratio: Figure,
    /// The same of the CPU of the backend.
    pub cpu_ratio: Figure,
}

/// A database, and what was measured of it at one size.
struct Side {
    crowd: Crowd,
    caller: Caller,
    own: Vec<i64>,
    same: Vec<Uuid>,
    /// To random peers, to its own, and to the same.
    calls: [Series; 3],
}

/// Measures at each size.
pub async fn run(options: &Options, quick: bool, progress: &Progress) -> Result<Size> {
    let sizes: &[usize] = if quick { &[10_000, 30_000] } else { &[10_000, 30_000, 100_000, 300_000, 1_000_000] };
    let most = options.peers.map_or(usize::MAX, |peers| peers as usize);
    let (rounds, calls) = if quick { (1, 5) } else { (3, 7) };
    let mut small = Side::create(SMALL).await?;
    let mut large = Side::create(SMALL).await?;
    // Half of the time of making identities. An update writes no page to the log.
    let meter = Meter::open(&small.crowd.database).await?;
    meter.set("full_page_writes", "off").await?;
    let mut points = Vec::new();
    for peers in sizes.iter().copied().filter(|peers| *peers <= most) {
        progress.phase(&format!("{peers} peers"));
        let begun = Instant::now();
        if peers > 2 * large.crowd.pairs {
            large.crowd.grow(peers / 2).await?;
        }
        let growing_seconds = begun.elapsed().as_secs_f64();
        for side in [&mut small, &mut large] {
            side.begin().await?;
        }
        for _ in 0..rounds {
            for side in [&mut small, &mut large] {
                side.calls.iter_mut().for_each(Series::begin_round);
            }
            for call in 0..calls {
                for place in 0..2 {
                    let side = if (place + call) % 2 == 0 { &mut small } else { &mut large };
                    side.call().await?;
                }
            }
        }
        let [random, own, same] = [0, 1, 2].map(|sort| compared(&large.calls[sort], &small.calls[sort]));
        let point = Point { peers, growing_seconds, megabytes: large.megabytes().await?, random, own, same };
        eprintln!(
            "    made in {growing_seconds:.1} s; µs of CPU an update: random peers {}, × {}; of one proxy × {}; the same × {}",
            point.random.large.cpu_us.shown(1),
            point.random.cpu_ratio.shown(2),
            point.own.cpu_ratio.shown(2),
            point.same.cpu_ratio.shown(2)
        );
        points.push(point);
    }
    meter.set("full_page_writes", "on").await?;
    let shared_buffers = small.crowd.sql.query_one("SHOW shared_buffers", &[]).await?.get(0);
    for side in [small, large] {
        side.crowd.end().await?;
    }
    Ok(Size { batch: BATCH, rounds, calls, shared_buffers, points })
}

fn compared(large: &Series, small: &Series) -> Compared {
    let [ratio, cpu_ratio] = large.against(small);
    Compared { large: large.cost(), small: small.cost(), ratio, cpu_ratio }
}

impl Side {
    async fn create(peers: usize) -> Result<Self> {
        let mut crowd = Crowd::create().await?;
        crowd.grow(peers / 2).await?;
        let caller = Caller::connect(&crowd).await?;
        Ok(Self { crowd, caller, own: Vec::new(), same: Vec::new(), calls: Default::default() })
    }

    /// Forgets what was measured, and fills the buffers with what calls touch.
    async fn begin(&mut self) -> Result<()> {
        self.own = numbers(self.crowd.pairs, OWN);
        self.same = self.crowd.agents(&numbers(self.crowd.pairs, BATCH)).await?;
        for own in self.own.chunks(BATCH) {
            let (own, random) = (self.crowd.agents(own).await?, numbers(self.crowd.pairs, BATCH));
            self.caller.update(&own).await?;
            self.caller.update(&self.crowd.agents(&random).await?).await?;
        }
        self.calls = Default::default();
        Ok(())
    }

    /// One call of each sort. The same peers come twice, so that the second finds their pages whatever came between.
    async fn call(&mut self) -> Result<()> {
        let random = self.crowd.agents(&numbers(self.crowd.pairs, BATCH)).await?;
        let own: Vec<i64> = sample(&mut rand::rng(), OWN, BATCH).into_iter().map(|place| self.own[place]).collect();
        let own = self.crowd.agents(&own).await?;
        self.calls[0].call(&mut self.caller, &self.crowd, &random).await?;
        self.calls[1].call(&mut self.caller, &self.crowd, &own).await?;
        self.caller.update(&self.same).await?;
        self.calls[2].call(&mut self.caller, &self.crowd, &self.same).await
    }

    async fn megabytes(&self) -> Result<f64> {
        let sql = "SELECT (sum(pg_total_relation_size(relation)) / 1e6)::float8
                   FROM unnest('{tailnet_private.identities, tailnet_private.peers, tailnet_private.tunnels}'::regclass[]) relation";
        Ok(self.crowd.sql.query_one(sql, &[]).await?.get(0))
    }
}

/// So many different pairs of as many, which are numbered from 1.
fn numbers(of: usize, count: usize) -> Vec<i64> {
    sample(&mut rand::rng(), of, count).into_iter().map(|place| place as i64 + 1).collect()
}
