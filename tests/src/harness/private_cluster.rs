//! A Postgres for one test, which may kill it.

use std::{path::PathBuf, process::Output};

use anyhow::{Context, Result, ensure};
use tokio::process::Command;
use tokio_postgres::Config;
use uuid::Uuid;

use super::deadline::until;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A cluster of `tests/cluster`, with settings that lose nothing when Postgres is killed. Destroyed when it is dropped.
#[derive(Debug)]
pub struct PrivateCluster {
    name: String,
    url: String,
    destroyed: bool,
}

impl PrivateCluster {
    /// Makes and starts one.
    ///
    /// # Errors
    /// When Postgres does not start.
    pub async fn start() -> Result<Self> {
        let name = format!("e2e-{}", Uuid::new_v4().simple());
        let mut cluster = Self { name, url: String::new(), destroyed: false };
        // What a killed process has written is written: only a crash of the machine would need the syncs.
        let output = cluster.call("start", &["-c", "fsync=off"]).await?;
        cluster.url = String::from_utf8(output.stdout)?.trim().to_owned();
        Ok(cluster)
    }

    /// How to reach it as its superuser.
    ///
    /// # Errors
    /// When its URL is none.
    pub fn superuser(&self) -> Result<Config> {
        self.url.parse().context("tests/cluster printed no URL of a Postgres")
    }

    /// Ends Postgres with SIGKILL; its processes notice that the first of them is gone.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn kill(&self) -> Result<()> {
        let file: PathBuf = [ROOT, ".data", &self.name, "data", "postmaster.pid"].iter().collect();
        let text = std::fs::read_to_string(&file).with_context(|| format!("no {}", file.display()))?;
        let pid = text.lines().next().context("an empty postmaster.pid")?;
        let status = Command::new("sh").args(["-c", r#"kill -KILL "$0""#, pid]).status().await?;
        ensure!(status.success(), "cannot kill Postgres");
        // It may still be on its way out, and would pass for one that runs.
        let status = format!("/proc/{pid}/status");
        until("Postgres is dead", async || {
            let status = std::fs::read_to_string(&status).unwrap_or_default();
            Ok(!status.contains("State:") || status.contains("State:\tZ") || status.contains("State:\tX"))
        })
        .await
    }

    /// Starts it again, at the same address.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_again(&self) -> Result<()> {
        // It refuses while processes of the killed one still use the memory that they share.
        until("Postgres is started again", async || Ok(self.call("start", &[]).await.is_ok())).await?;
        let url = String::from_utf8(self.call("url", &[]).await?.stdout)?;
        ensure!(url.trim() == self.url, "its port was taken meanwhile");
        Ok(())
    }

    /// Removes it.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub(super) async fn destroy(mut self) -> Result<()> {
        self.call("destroy", &[]).await?;
        self.destroyed = true;
        Ok(())
    }

    async fn call(&self, command: &str, arguments: &[&str]) -> Result<Output> {
        let script = format!("{ROOT}/tests/cluster");
        let output = Command::new(script).arg(command).arg(&self.name).args(arguments).output().await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "tests/cluster {command} {} failed: {said}", self.name);
        Ok(output)
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
