//! What a whole server has used of the processors.

use std::fs;

use anyhow::{Context, Result};
use tailnet_harness::process_tree::tree;
use tokio_postgres::Client;

use crate::common::process::{cpu, ended_children};

/// All processes of a Postgres on this machine.
#[derive(Debug, Clone, Copy)]
pub struct Server {
    postmaster: u32,
}

impl Server {
    /// The one that a session belongs to.
    /// Fails when it is on another machine.
    pub async fn of(sql: &Client) -> Result<Self> {
        let backend: i32 = sql.query_one("SELECT pg_backend_pid()", &[]).await?.get(0);
        let status = fs::read_to_string(format!("/proc/{backend}/status"));
        let status = status.context("the server is not on this machine, or hides its processes")?;
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).context("a process has no parent")?;
        Ok(Self { postmaster: parent.trim().parse()? })
    }

    /// Seconds of CPU that its processes have used: those that run, and those that have ended.
    pub fn cpu(&self) -> Result<f64> {
        let ended = ended_children(self.postmaster)?;
        // One that ends meanwhile is not there any more.
        let running = tree(self.postmaster).into_iter().filter_map(|pid| cpu(pid).ok());
        Ok(running.sum::<f64>() + ended)
    }
}
