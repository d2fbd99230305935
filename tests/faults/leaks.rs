//! What grows although no peer works.

use std::{collections::BTreeMap, fs, time::Duration};

use anyhow::{Context, Result, bail};
use tokio::time::{Instant, sleep};

use crate::world::World;

/// Memory may double, and grow by this much: a proxy may have taken over the peers of two others.
const MEMORY_KIB: u64 = 64 * 1024;

/// How many more files a proxy may have open, beside one for each session.
const FILES: u64 = 48;

/// How many more backends a proxy may have: some are dead, and it has not noticed.
const BACKENDS: u64 = 12;

/// How many advisory locks may be held at one moment: a heartbeat takes one, a batch of three networks some.
const LOCKS: u64 = 16;

/// After a fault it may take so long until everything dead is found.
const DEADLINE: Duration = Duration::from_secs(30);

/// What backends use, as Postgres shows it.
const OF_POSTGRES: &str = "
    SELECT 'backends of ' || split_part(application_name, '/', 2), count(*) FROM pg_stat_activity
    WHERE application_name LIKE 'tailnet-proxy/%' GROUP BY 1
    UNION ALL SELECT 'advisory locks', count(*) FROM pg_locks WHERE locktype = 'advisory'
    UNION ALL SELECT 'transactions idle for a second', count(*) FROM pg_stat_activity
    WHERE state LIKE 'idle in transaction%' AND state_change < clock_timestamp() - interval '1 s'";

/// Figures, by what they are of.
type Figures = BTreeMap<String, u64>;

/// The most that may be in use.
#[derive(Debug, Default)]
pub struct Bounds(Figures);

impl Bounds {
    /// Waits until no figure is above its bound. The first call sets the bounds.
    pub async fn check(&mut self, world: &World) -> Result<()> {
        let begun = Instant::now();
        loop {
            let usage = usage(world).await?;
            if self.0.is_empty() {
                self.0 = bounds(&usage);
                return Ok(());
            }
            let over = |(what, used): (&String, &u64)| {
                let most = self.0.get(what).copied().unwrap_or_default();
                (*used > most).then(|| format!("{what}: {used}, after the first round at most {most}"))
            };
            let over: Vec<String> = usage.iter().filter_map(over).collect();
            if over.is_empty() {
                return Ok(());
            }
            if begun.elapsed() > DEADLINE {
                bail!("leaked, although nobody has worked for {DEADLINE:?}:\n  {}", over.join("\n  "));
            }
            sleep(Duration::from_millis(200)).await;
        }
    }
}

async fn usage(world: &World) -> Result<Figures> {
    let mut usage = Figures::new();
    for slot in &world.slots {
        let process = slot.process.lock().await;
        let proxy = process.as_ref().with_context(|| format!("{} is not there", slot.name))?;
        let sessions = proxy.metric("tailnet_sessions").await?;
        usage.insert(format!("KiB of memory of {}", slot.name), proxy.resident_kib()?);
        let files = fs::read_dir(format!("/proc/{}/fd", proxy.pid()?)).context("cannot look at the open files")?;
        let files = (files.count() as u64).saturating_sub(sessions);
        usage.insert(format!("files of {} beside sessions", slot.name), files);
    }
    for row in world.operator().await?.sql.query(OF_POSTGRES, &[]).await? {
        usage.insert(row.get(0), row.get::<_, i64>(1).try_into()?);
    }
    Ok(usage)
}

/// Bounds are generous: a leak in each round exceeds them soon.
fn bounds(usage: &Figures) -> Figures {
    let most = |of: &str| {
        let used = usage.iter().filter(|(what, _)| what.starts_with(of)).map(|(_, used)| *used);
        used.max().unwrap_or_default()
    };
    let bound = |(what, used): (&String, &u64)| {
        let most = match what.split(' ').next() {
            Some("KiB") => 2 * most("KiB") + MEMORY_KIB,
            Some("files") => most("files") + FILES,
            Some("backends") => used + BACKENDS,
            Some("advisory") => LOCKS,
            _ => 0,
        };
        (what.clone(), most)
    };
    usage.iter().map(bound).collect()
}
