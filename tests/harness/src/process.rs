//! Programs that a test starts.

use std::{
    env,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

/// A program of this project. A variable may name another file: for `tailnet-proxy` it is `TAILNET_PROXY_BIN`.
pub fn program(name: &str) -> Result<Command> {
    let variable = format!("{}_BIN", name.replace('-', "_").to_uppercase());
    let built = || [env!("CARGO_MANIFEST_DIR"), "../../target/release", name].iter().collect();
    let file: PathBuf = env::var_os(&variable).map_or_else(built, PathBuf::from);
    command(&file).with_context(|| format!("{variable} may name another"))
}

/// A program that ends with the test, whatever ends the test: dropping it kills it, and when the test's own process is
/// killed, the kernel does. Its output is piped, its input empty.
pub fn command(program: &Path) -> Result<Command> {
    ensure!(program.is_file(), "there is no {}: 'make build' builds it", program.display());
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--"])
        .arg(program)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    Ok(command)
}
