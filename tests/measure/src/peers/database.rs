//! What is measured at the database: against the prior design, and against itself. The benchmark of the engines runs as a
//! process of its own, whose CPU is that of the load, and its figures become part of ours.

use std::{env, process::Stdio};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use tailnet_harness::private_cluster::PrivateCluster;
use tokio::process::Command;

use crate::engines::{fan_out::FanOut, report::Report};

/// More sizes at which the two designs are compared, in peers; one round each.
const SIZES: [u32; 2] = [2_000, 24_000];

#[derive(Debug, Serialize)]
pub struct Engines {
    pub all: Report,
    /// The fan-out for other numbers of peers.
    pub sizes: Vec<Report>,
}

impl Engines {
    /// At all sizes, the smallest first.
    pub fn fan_outs(&self) -> Vec<&FanOut> {
        let mut found: Vec<_> = self.sizes.iter().chain([&self.all]).filter_map(|run| run.fan_out.as_ref()).collect();
        found.sort_by_key(|fan_out| fan_out.peers);
        found
    }
}

/// Runs it on this cluster.
pub async fn run(cluster: &PrivateCluster, quick: bool) -> Result<Engines> {
    let all = call(cluster, quick, &["all"]).await?;
    let mut sizes = Vec::new();
    for peers in SIZES.iter().filter(|_| !quick) {
        sizes.push(call(cluster, quick, &["fan-out", "--rounds", "1", "--peers", &peers.to_string()]).await?);
    }
    Ok(Engines { all, sizes })
}

/// Its progress goes where ours goes.
async fn call(cluster: &PrivateCluster, quick: bool, arguments: &[&str]) -> Result<Report> {
    let output = Command::new(env::current_exe().context("cannot find this program")?)
        .arg("engines")
        .args(quick.then_some("--quick"))
        .args(arguments)
        .env("TAILNET_TEST_DATABASE_URL", cluster.url())
        .stderr(Stdio::inherit())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("cannot run the benchmark of the engines")?;
    ensure!(output.status.success(), "engines {} failed: {}", arguments.join(" "), output.status);
    serde_json::from_slice(&output.stdout).context("the benchmark of the engines printed other figures than expected")
}
