//! A Postgres for one test, which may kill it.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::{Context, Result, ensure};
use tailnet_tools::cluster;
use tokio::process::Command;
use tokio_postgres::Config;
use uuid::Uuid;

use crate::{deadline::until, process_tree};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// A cluster of `tests/cluster`, with settings that lose nothing when Postgres is killed. Destroyed when it is dropped.
#[derive(Debug)]
pub struct PrivateCluster {
    name: String,
    url: String,
    /// Nobody has to destroy it, or somebody else will.
    destroyed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// In good order: unlogged tables keep their rows.
    Fast,
    /// Like a crash.
    Immediate,
    /// With SIGKILL; the other processes notice that the first of them is gone.
    Kill,
}

impl PrivateCluster {
    /// Makes and starts one, under a name with this prefix.
    pub async fn start(prefix: &str) -> Result<Self> {
        // What a killed process has written is written: only a crash of the machine would need the syncs. A standby
        // must not be missed for seconds after a restart.
        let settings = ["-c", "fsync=off", "-c", "wal_retrieve_retry_interval=100ms"];
        Self::make(prefix, "start", &settings).await
    }

    /// One that runs already, and that somebody else destroys.
    pub async fn existing(name: &str) -> Result<Self> {
        let mut cluster = Self { name: name.to_owned(), url: String::new(), destroyed: true };
        cluster.url = cluster.call("url", &[]).await?;
        Ok(cluster)
    }

    /// Makes and starts a streaming standby of this cluster, with the same passwords.
    pub async fn start_standby(&self, prefix: &str) -> Result<Self> {
        Self::make(prefix, "standby", &[&self.name]).await
    }

    async fn make(prefix: &str, command: &str, arguments: &[&str]) -> Result<Self> {
        let name = format!("{prefix}-{}", Uuid::new_v4().simple());
        let mut cluster = Self { name, url: String::new(), destroyed: false };
        cluster.url = cluster.call(command, arguments).await?;
        Ok(cluster)
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn superuser(&self) -> Result<Config> {
        self.url.parse().context("tests/cluster printed no URL of a Postgres")
    }

    pub fn address(&self) -> Result<SocketAddr> {
        cluster::address(&self.superuser()?)
    }

    /// Ends Postgres with SIGKILL.
    pub async fn kill(&self) -> Result<()> {
        self.kill_all(&[self.postmaster()?]).await
    }

    /// Ends all processes of Postgres with SIGKILL, as the end of its machine does.
    pub async fn kill_tree(&self) -> Result<()> {
        self.kill_all(&process_tree::tree(self.postmaster()?)).await
    }

    async fn kill_all(&self, pids: &[u32]) -> Result<()> {
        process_tree::signal("KILL", pids).await.context("cannot kill Postgres")?;
        // It may still be on its way out, and would pass for one that runs.
        until("Postgres is dead", async || Ok(pids.iter().all(|pid| process_tree::is_dead(*pid)))).await
    }

    /// Stops all processes of Postgres as the kernel stops one: they keep their sockets and do nothing.
    pub async fn stall(&self) -> Result<()> {
        process_tree::signal("STOP", &process_tree::tree(self.postmaster()?)).await
    }

    pub async fn go_on(&self) -> Result<()> {
        process_tree::signal("CONT", &process_tree::tree(self.postmaster()?)).await
    }

    pub async fn restart(&self, shutdown: Shutdown) -> Result<()> {
        self.stop(shutdown).await?;
        self.start_again().await
    }

    pub async fn stop(&self, shutdown: Shutdown) -> Result<()> {
        match shutdown {
            Shutdown::Fast => self.call("stop", &["fast"]).await.map(drop),
            Shutdown::Immediate => self.call("stop", &["immediate"]).await.map(drop),
            Shutdown::Kill => self.kill().await,
        }
    }

    /// Starts it again, at the same address.
    pub async fn start_again(&self) -> Result<()> {
        // It refuses while processes of the killed one still use the memory that they share.
        until("Postgres is started again", async || Ok(self.call("start", &[]).await.is_ok())).await?;
        ensure!(self.call("url", &[]).await? == self.url, "its port was taken meanwhile");
        Ok(())
    }

    /// Makes a standby a primary; returns when it takes writes.
    pub async fn promote(&self) -> Result<()> {
        self.call("promote", &[]).await.map(drop)
    }

    pub async fn destroy(mut self) -> Result<()> {
        self.call("destroy", &[]).await?;
        self.destroyed = true;
        Ok(())
    }

    fn postmaster(&self) -> Result<u32> {
        let file: PathBuf = [ROOT, ".data", &self.name, "data", "postmaster.pid"].iter().collect();
        let text = std::fs::read_to_string(&file).with_context(|| format!("no {}", file.display()))?;
        text.lines().next().and_then(|pid| pid.parse().ok()).context("postmaster.pid has no pid")
    }

    /// What the command printed.
    async fn call(&self, command: &str, arguments: &[&str]) -> Result<String> {
        let script = format!("{ROOT}/tests/cluster");
        let output = Command::new(script).arg(command).arg(&self.name).args(arguments).output().await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "tests/cluster {command} {} failed: {said}", self.name);
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }
}

impl Drop for PrivateCluster {
    fn drop(&mut self) {
        if !self.destroyed {
            // The test has failed already.
            let _ = std::process::Command::new(format!("{ROOT}/tests/cluster")).args(["destroy", &self.name]).status();
        }
    }
}
