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

/// What is in use at one moment.
#[derive(Debug, Clone, Default)]
pub struct Usage(BTreeMap<String, u64>);

/// The most that may be in use.
#[derive(Debug, Default)]
pub struct Bounds(BTreeMap<String, u64>);

impl Bounds {
    /// Waits until no figure is above its bound. The first call sets the bounds.
    pub async fn check(&mut self, world: &World) -> Result<()> {
        let begun = Instant::now();
        loop {
            let usage = Usage::look(world).await?;
            if self.0.is_empty() {
                self.0 = usage.bounds();
                return Ok(());
            }
            let over = |(what, used): (&String, &u64)| {
                let most = self.0.get(what).copied().unwrap_or_default();
                (*used > most).then(|| format!("{what}: {used}, after the first round at most {most}"))
            };
            let over: Vec<String> = usage.0.iter().filter_map(over).collect();
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

impl Usage {
    async fn look(world: &World) -> Result<Self> {
        let mut usage = BTreeMap::new();
        for slot in &world.slots {
            let process = slot.process.lock().await;
            let proxy = process.as_ref().with_context(|| format!("{} is not there", slot.name))?;
            let sessions = proxy.metric("tailnet_sessions").await?;
            usage.insert(format!("KiB of memory of {}", slot.name), proxy.resident_kib()?);
            let files =
                fs::read_dir(format!("/proc/{}/fd", proxy.pid()?)).context("cannot look at the open files")?.count();
            usage.insert(format!("files of {} beside sessions", slot.name), (files as u64).saturating_sub(sessions));
        }
        let operator = world.operator().await?;
        let backends = "SELECT split_part(application_name, '/', 2), count(*) FROM pg_stat_activity
                        WHERE application_name LIKE 'tailnet-proxy/%' GROUP BY 1";
        for row in operator.sql.query(backends, &[]).await? {
            usage.insert(format!("backends of {}", row.get::<_, String>(0)), row.get::<_, i64>(1).try_into()?);
        }
        for (what, count) in [
            ("advisory locks", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"),
            (
                "transactions idle for a second",
                "SELECT count(*) FROM pg_stat_activity
                 WHERE state LIKE 'idle in transaction%' AND state_change < clock_timestamp() - interval '1 s'",
            ),
        ] {
            usage.insert(what.to_owned(), operator.value::<i64>(count, &[]).await?.try_into()?);
        }
        Ok(Self(usage))
    }

    /// Bounds are generous: a leak in each round exceeds them soon.
    fn bounds(&self) -> BTreeMap<String, u64> {
        let most = |of: &str| {
            let used = self.0.iter().filter(|(what, _)| what.starts_with(of)).map(|(_, used)| *used);
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
        self.0.iter().map(bound).collect()
    }
}
