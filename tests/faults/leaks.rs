//! What grows, although nobody works.

use std::{collections::BTreeMap, fs, time::Duration};

use anyhow::{Context, Result, bail};
use tokio::time::{Instant, sleep};

use crate::world::World;

/// Memory may double, and grow by this much: buffers and maps of a proxy that took over the peers of two others.
const MEMORY_KIB: u64 = 64 * 1024;

/// Open files beside one for each session.
const FILES: u64 = 48;

/// Backends of a proxy: one for each worker, and those that it has not noticed to be dead.
const BACKENDS: i64 = 12;

/// Advisory locks that somebody holds at the moment: a heartbeat takes one, a batch of three networks some.
const LOCKS: i64 = 16;

/// What a fault left behind may take so long to be found dead.
const DEADLINE: Duration = Duration::from_secs(30);

/// Of one moment. Each figure by what it is of.
#[derive(Debug, Clone, Default)]
pub struct Usage(BTreeMap<String, u64>);

/// The most that anything may take.
#[derive(Debug, Default)]
pub struct Bounds(BTreeMap<String, u64>);

impl Bounds {
    /// Waits until nothing takes more than it may. The first time only finds out what that is.
    ///
    /// # Errors
    /// When something still takes more after a while.
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
            let pid = proxy.pid()?;
            usage.insert(format!("KiB of memory of {}", slot.name), memory(pid)?);
            let files = fs::read_dir(format!("/proc/{pid}/fd")).context("cannot look at the open files")?.count();
            usage.insert(format!("files of {} beside sessions", slot.name), (files as u64).saturating_sub(sessions));
        }
        let sql = world.sql().await?;
        let backends = "SELECT split_part(application_name, '/', 2), count(*) FROM pg_stat_activity
                        WHERE application_name LIKE 'tailnet-proxy/%' GROUP BY 1";
        for row in sql.query(backends, &[]).await? {
            usage.insert(format!("backends of {}", row.get::<_, String>(0)), row.get::<_, i64>(1).try_into()?);
        }
        let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
        usage.insert("advisory locks".to_owned(), sql.query_one(locks, &[]).await?.get::<_, i64>(0).try_into()?);
        let idle = "SELECT count(*) FROM pg_stat_activity
                    WHERE state LIKE 'idle in transaction%' AND state_change < clock_timestamp() - interval '1 s'";
        let idle: i64 = sql.query_one(idle, &[]).await?.get(0);
        usage.insert("transactions idle for a second".to_owned(), idle.try_into()?);
        Ok(Self(usage))
    }

    /// Generous: what leaks in each round goes beyond them soon.
    fn bounds(&self) -> BTreeMap<String, u64> {
        let memory = self.0.iter().filter(|(what, _)| what.starts_with("KiB")).map(|(_, used)| *used).max();
        let files = self.0.iter().filter(|(what, _)| what.starts_with("files")).map(|(_, used)| *used).max();
        let bound = |(what, used): (&String, &u64)| {
            let most = match what.split(' ').next() {
                Some("KiB") => 2 * memory.unwrap_or_default() + MEMORY_KIB,
                Some("files") => files.unwrap_or_default() + FILES,
                Some("backends") => used + BACKENDS.unsigned_abs(),
                Some("advisory") => LOCKS.unsigned_abs(),
                _ => 0,
            };
            (what.clone(), most)
        };
        self.0.iter().map(bound).collect()
    }
}

fn memory(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("cannot look at the memory")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("the status has no VmRSS")?;
    line.trim().trim_end_matches(" kB").parse().context("VmRSS is no number")
}
