//! Faults, from their beginning to their end.

use std::{ops::Range, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use rand::{RngExt as _, rngs::StdRng, seq::SliceRandom as _};
use tailnet_harness::{private_cluster::Shutdown, relay::Traffic};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::{
    effects::{Effects, Hit},
    fault::Kind,
    fleet::Fleet,
    slot::Slot,
    world::World,
};

/// How long Postgres is stopped.
const STALL: Duration = Duration::from_secs(30);

/// Three missed heartbeats take 6 s; much later something is wrong.
const EXPIRY_DEADLINE: Duration = Duration::from_secs(60);

/// Milliseconds. Even after a whole interval of heartbeats, this is less than the time of an expiry.
const SHORT: Range<u64> = 300..2500;

/// How many milliseconds a fault goes on after it had its effect.
const AFTER: Range<u64> = 200..2500;

/// By how many milliseconds a piece is delayed in one direction.
const DELAY: Range<u64> = 50..400;

/// Backends are ended at most so often in a row.
const MOST_ENDS: u32 = 4;

/// One in so many peers stops reading.
const PAUSED: u32 = 8;

/// The proxies that the faults of a round hit. Each fault hits another proxy.
pub fn victims(world: &World, rng: &mut StdRng) -> Vec<usize> {
    let mut victims: Vec<usize> = (0..world.slots.len()).collect();
    victims.shuffle(rng);
    victims
}

/// Injects a fault and heals it. A fault of a proxy hits the one with the number `victim`.
pub async fn inject(kind: Kind, world: &World, fleet: &Fleet, victim: usize, mut rng: StdRng) -> Result<Effects> {
    let slot = &world.slots[victim];
    let rng = &mut rng;
    let injected = match kind {
        Kind::ProxyKill => proxy_kill(world, slot, rng).await,
        Kind::ProxyStall => proxy_stall(world, slot, rng).await,
        Kind::ProxyRestart => proxy_restart(world, slot).await,
        Kind::PostgresFast | Kind::PostgresImmediate | Kind::PostgresKill | Kind::PostgresStall | Kind::Failover => {
            of_postgres(kind, world, rng).await
        }
        Kind::ListenerEnd => end_backends(world, &format!("tailnet-proxy/{}/listener", slot.name), rng).await,
        Kind::BackendsEnd => end_backends(world, &format!("tailnet-proxy/{}/%", slot.name), rng).await,
        Kind::RelayStall => disturb(slot, Traffic::Stalled, SHORT, rng).await,
        Kind::RelayCut => disturb(slot, Traffic::Cut, SHORT, rng).await,
        Kind::RelayDelay => {
            let delay = Duration::from_millis(rng.random_range(DELAY));
            disturb(slot, Traffic::Delayed(delay), 3000..8000, rng).await
        }
        Kind::RelayStallLong => isolate(world, slot, Traffic::Stalled, rng).await,
        Kind::RelayCutLong => isolate(world, slot, Traffic::Cut, rng).await,
        Kind::ReadersPause => {
            let readers = fleet.some(PAUSED, rng);
            readers.iter().for_each(|peer| peer.read(false));
            sleep(Duration::from_millis(rng.random_range(1000..12_000))).await;
            readers.iter().for_each(|peer| peer.read(true));
            Ok(Effects::default())
        }
    };
    injected.with_context(|| format!("cannot inject {kind}"))
}

async fn proxy_kill(world: &World, slot: &Slot, rng: &mut StdRng) -> Result<Effects> {
    let mut process = slot.process.lock().await;
    let coordinator = id_of(world, slot).await?;
    slot.kill(&mut process).await?;
    world.show_door(slot, None);
    // The next process may come before or after another proxy has noticed.
    if rng.random_bool(0.5) {
        until_expired(world, coordinator).await?;
    }
    come_back(world, slot, &mut process).await?;
    Ok(Effects::hit(&slot.name, Hit::Killed))
}

async fn proxy_restart(world: &World, slot: &Slot) -> Result<Effects> {
    let mut process = slot.process.lock().await;
    // Its door stays until it has ended: peers learn by trying that it accepts nobody.
    slot.terminate(&mut process).await?;
    world.show_door(slot, None);
    come_back(world, slot, &mut process).await?;
    Ok(Effects::hit(&slot.name, Hit::Drained))
}

async fn come_back(world: &World, slot: &Slot, process: &mut Option<tailnet_harness::Proxy>) -> Result<()> {
    slot.start_proxy(process).await?;
    world.show_door(slot, process.as_ref());
    Ok(())
}

async fn proxy_stall(world: &World, slot: &Slot, rng: &mut StdRng) -> Result<Effects> {
    let process = slot.process.lock().await;
    let proxy = process.as_ref().context("there is no proxy to stop")?;
    let coordinator = id_of(world, slot).await?;
    proxy.stall().await?;
    let expired = until_expired(world, coordinator).await;
    sleep(Duration::from_millis(rng.random_range(AFTER))).await;
    proxy.go_on().await?;
    expired?;
    Ok(Effects::hit(&slot.name, Hit::Expired))
}

async fn of_postgres(kind: Kind, world: &World, rng: &mut StdRng) -> Result<Effects> {
    let mut postgres = world.postgres.lock().await;
    let primary = postgres.primary();
    match kind {
        Kind::PostgresFast => primary.restart(Shutdown::Fast).await?,
        Kind::PostgresImmediate => primary.restart(Shutdown::Immediate).await?,
        Kind::PostgresKill => {
            primary.kill().await?;
            sleep(Duration::from_millis(rng.random_range(0..3000))).await;
            primary.start_again().await?;
        }
        Kind::PostgresStall => {
            primary.stall().await?;
            sleep(STALL).await;
            primary.go_on().await?;
        }
        _ => {
            postgres.fail_over().await?;
            world.moved(&postgres)?;
        }
    }
    let keeps_tables = matches!(kind, Kind::PostgresFast | Kind::PostgresStall);
    Ok(if keeps_tables { Effects::default() } else { Effects::emptied() })
}

/// Ends the backends, and some times those that replace them.
async fn end_backends(world: &World, names: &str, rng: &mut StdRng) -> Result<Effects> {
    let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE $1";
    for time in 0..rng.random_range(1..=MOST_ENDS) {
        if time > 0 {
            sleep(Duration::from_millis(rng.random_range(AFTER))).await;
        }
        retry(async || {
            let ended: i64 = world.operator().await?.value(sql, &[&names]).await?;
            ensure!(ended > 0, "there is no backend like {names}");
            Ok(())
        })
        .await?;
    }
    Ok(Effects::default())
}

async fn disturb(slot: &Slot, traffic: Traffic, time: Range<u64>, rng: &mut StdRng) -> Result<Effects> {
    slot.set(traffic);
    sleep(Duration::from_millis(rng.random_range(time))).await;
    slot.set(Traffic::Flows);
    Ok(Effects::default())
}

async fn isolate(world: &World, slot: &Slot, traffic: Traffic, rng: &mut StdRng) -> Result<Effects> {
    let coordinator = id_of(world, slot).await?;
    slot.set(traffic);
    let expired = until_expired(world, coordinator).await;
    sleep(Duration::from_millis(rng.random_range(AFTER))).await;
    slot.set(Traffic::Flows);
    expired?;
    Ok(Effects::hit(&slot.name, Hit::Expired))
}

async fn id_of(world: &World, slot: &Slot) -> Result<Uuid> {
    retry(async || world.coordinator(&slot.name).await?.context("it is not registered")).await
}

async fn until_expired(world: &World, coordinator: Uuid) -> Result<()> {
    let sql = "SELECT EXISTS (SELECT FROM tailnet_private.coordinators WHERE id = $1)";
    let begun = Instant::now();
    while retry(async || world.operator().await?.value(sql, &[&coordinator]).await).await? {
        if begun.elapsed() > EXPIRY_DEADLINE {
            bail!("after {EXPIRY_DEADLINE:?} the coordinator {coordinator} is not expired");
        }
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Tries again and again: another fault may have stopped Postgres.
async fn retry<T>(what: impl AsyncFn() -> Result<T>) -> Result<T> {
    let begun = Instant::now();
    loop {
        match what().await {
            Err(_) if begun.elapsed() < EXPIRY_DEADLINE => sleep(Duration::from_millis(100)).await,
            outcome => return outcome,
        }
    }
}
