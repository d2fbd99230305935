//! What was measured, and on what.

use std::{fmt, fs, process::Command};

use anyhow::{Context, Result};
use procfs::{CpuInfo, Current as _, LoadAverage, Meminfo};
use serde::{Deserialize, Serialize};

use crate::common::meter::Meter;

/// The circumstances of the figures.
#[derive(Debug, Serialize, Deserialize)]
pub struct Machine {
    /// When, in UTC.
    pub date: String,
    /// The commit of the clone.
    pub commit: String,
    pub processor: String,
    pub cores: usize,
    pub memory: f64,
    pub kernel: String,
    /// Load average over the last minute, at the start: what else the machine was doing.
    pub load: f64,
    pub postgres: String,
    /// Its settings for durability.
    pub durability: String,
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processor, cores, memory, kernel, load, postgres, durability, .. } = self;
        writeln!(f, "{processor}, {cores} cores, {memory:.0} GiB, Linux {kernel}; load average at the start {load}.")?;
        write!(f, "Postgres {postgres} with its defaults: {durability}.")
    }
}

impl Machine {
    /// This one, now.
    pub async fn look(meter: &Meter) -> Result<Self> {
        let sql = "
            SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') || ' UTC', current_setting('server_version'),
                   format('fsync = %s, synchronous_commit = %s, wal_level = %s, shared_buffers = %s', current_setting('fsync'),
                          current_setting('synchronous_commit'), current_setting('wal_level'),
                          current_setting('shared_buffers'))";
        let row = meter.sql.query_one(sql, &[]).await?;
        Ok(Self {
            date: row.get(0),
            commit: commit(),
            processor: CpuInfo::current()?.model_name(0).context("the processor has no name")?.to_owned(),
            cores: std::thread::available_parallelism()?.get(),
            memory: Meminfo::current()?.mem_total as f64 / f64::from(1 << 30),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            load: (f64::from(LoadAverage::current()?.one) * 100.0).round() / 100.0,
            postgres: row.get(1),
            durability: row.get(2),
        })
    }
}

/// Says so when what is measured is not what was committed.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(env!("CARGO_MANIFEST_DIR")).args(arguments).output();
        output
            .ok()
            .filter(|output| output.status.success())
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else { return "unknown".to_owned() };
    let changed = git(&["status", "--porcelain", "--", "../../sql", "../../pg_ext", "../../proxy", "../../wire"])
        .unwrap_or_default();
    let note = if changed.is_empty() { "" } else { ", with changes that are not committed" };
    format!("{}{note}", commit.trim())
}
