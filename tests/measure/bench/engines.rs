//! What `tailnet-engines` measures at the database: against the prior design, and against itself. It runs as a process of
//! its own, and its figures become part of ours.

use std::{env, ffi::OsString, path::PathBuf, process::Stdio};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use tailnet_harness::private_cluster::PrivateCluster;
use tailnet_measure::figure::Figure;
use tokio::process::Command;

/// More sizes at which the two designs are compared, in peers; one round each.
const SIZES: [u32; 2] = [2_000, 24_000];

/// All figures, as they came, and those that the documentation names.
#[derive(Debug, Serialize)]
pub struct Engines {
    /// As `tailnet-engines all` printed it.
    pub all: Value,
    /// As `tailnet-engines fan-out` printed it, for other numbers of peers.
    pub sizes: Vec<Value>,
    #[serde(skip)]
    pub found: Found,
    #[serde(skip)]
    pub fan_outs: Vec<FanOut>,
}

/// What of it the documentation names. Its own documentation is in tests/measure/engines.
#[derive(Debug, Deserialize)]
pub struct Found {
    pub fan_out: FanOut,
    pub size: Size,
    pub hub: Hub,
}

#[derive(Debug, Deserialize)]
pub struct FanOut {
    pub rounds: usize,
    pub peers: usize,
    pub coordinators: usize,
    pub engines: Vec<Measured>,
    /// Against the prior design as it was.
    pub ratios: Option<Ratios>,
    /// Against the prior design with what can be tuned of it.
    pub ratios_tuned: Option<Ratios>,
}

#[derive(Debug, Deserialize)]
pub struct Ratios {
    pub updates: Figure,
    pub postgres_cpu: Figure,
}

#[derive(Debug, Deserialize)]
pub struct Measured {
    pub engine: String,
    /// How it works, in words.
    #[serde(default)]
    pub what: String,
    pub saturated: Saturated,
    pub rates: Vec<Rate>,
    pub bystanders: Option<Bystanders>,
}

#[derive(Debug, Deserialize)]
pub struct Saturated {
    pub updates_per_second: Figure,
    pub postgres_us: Figure,
    pub statements: Figure,
}

#[derive(Debug, Deserialize)]
pub struct Rate {
    pub per_second: f64,
    pub p50_ms: Figure,
    pub p99_ms: Figure,
    pub postgres_us: Figure,
    pub statements: Figure,
    pub held: bool,
}

#[derive(Debug, Deserialize)]
pub struct Bystanders {
    pub statements: Figure,
    pub payloads: Figure,
}

#[derive(Debug, Deserialize)]
pub struct Size {
    pub rounds: usize,
    pub batch: usize,
    pub points: Vec<Point>,
}

#[derive(Debug, Deserialize)]
pub struct Point {
    pub peers: usize,
    pub megabytes: f64,
    pub random: Compared,
    pub own: Compared,
    pub same: Compared,
}

#[derive(Debug, Deserialize)]
pub struct Compared {
    pub large: Cost,
    pub small: Cost,
    pub ratio: Figure,
    pub cpu_ratio: Figure,
}

#[derive(Debug, Deserialize)]
pub struct Cost {
    pub us: Figure,
    pub cpu_us: Figure,
}

#[derive(Debug, Deserialize)]
pub struct Hub {
    pub rounds: usize,
    pub tunnels: usize,
    pub cases: Vec<Case>,
}

#[derive(Debug, Deserialize)]
pub struct Case {
    pub hub: String,
    pub batch: usize,
    pub with: Cost,
    pub without: Cost,
    pub ratio: Figure,
    pub cpu_ratio: Figure,
}

impl Case {
    /// With the hub ÷ without it.
    pub fn time(&self) -> Figure {
        self.ratio
    }

    /// The same of the CPU.
    pub fn cpu(&self) -> Figure {
        self.cpu_ratio
    }
}

impl Measured {
    /// In a table.
    pub fn named(&self) -> String {
        let name = match self.engine.as_str() {
            "replicas" => "prior design",
            "replicas_tuned" => "prior design, tuned",
            "extension" => "pg_tailnet",
            other => other,
        };
        if self.what.is_empty() { name.to_owned() } else { format!("{name}: {}", self.what) }
    }
}

impl FanOut {
    /// The figures of the extension; None: it was not measured.
    pub fn extension(&self) -> Option<&Measured> {
        self.engines.iter().find(|measured| measured.engine == "extension")
    }
}

/// Runs it on this cluster.
///
/// # Errors
/// When it fails, or prints something else.
pub async fn run(cluster: &PrivateCluster, quick: bool) -> Result<Engines> {
    let all = call(cluster, quick, &["all"]).await?;
    let found = read(&all)?;
    let (mut sizes, mut fan_outs) = (Vec::new(), Vec::new());
    for peers in SIZES.iter().filter(|_| !quick) {
        let size = call(cluster, quick, &["fan-out", "--rounds", "1", "--peers", &peers.to_string()]).await?;
        fan_outs.push(read(&size["fan_out"])?);
        sizes.push(size);
    }
    Ok(Engines { all, sizes, found, fan_outs })
}

fn read<T: DeserializeOwned>(figures: &Value) -> Result<T> {
    T::deserialize(figures).context("tailnet-engines printed other figures than expected")
}

/// Whether it is built.
pub fn is_built() -> bool {
    program().is_ok_and(|program| program.is_file())
}

/// Beside this program.
fn program() -> Result<PathBuf> {
    Ok(env::current_exe().context("cannot find this program")?.with_file_name("tailnet-engines"))
}

/// Its progress goes where ours goes.
async fn call(cluster: &PrivateCluster, quick: bool, arguments: &[&str]) -> Result<Value> {
    let options = quick.then(|| OsString::from("--quick"));
    let output = Command::new(program()?)
        .args(options)
        .args(arguments)
        .env("TAILNET_TEST_DATABASE_URL", cluster.url())
        .stderr(Stdio::inherit())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("cannot run tailnet-engines")?;
    ensure!(output.status.success(), "tailnet-engines {} failed: {}", arguments.join(" "), output.status);
    serde_json::from_slice(&output.stdout).context("tailnet-engines printed no JSON")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn its_figures_are_read_and_what_is_missing_is_named() {
        let figure = json!({"median": 2.0, "min": 1.0, "max": 3.0});
        let saturated = json!({"updates_per_second": figure, "postgres_us": figure, "statements": figure, "more": 1});
        let fan_out = json!({
            "rounds": 3, "peers": 2000, "coordinators": 4, "ratios": {"updates": figure, "postgres_cpu": figure}, "ratios_tuned": null,
            "engines": [{"engine": "extension", "what": "w", "saturated": saturated, "rates": [], "bystanders": null}],
        });
        let read_back: FanOut = read(&fan_out).expect("its figures");
        let extension = read_back.extension().expect("it was measured");
        assert_eq!((extension.saturated.statements.max, extension.named()), (3.0, "pg_tailnet: w".to_owned()));
        let error = format!("{:#}", read::<FanOut>(&json!({"rounds": 3, "coordinators": 4})).expect_err("no peers"));
        assert!(error.contains("missing field `peers`"), "{error}");
    }
}
