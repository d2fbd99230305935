//! Programs that a test starts.

use std::{path::Path, process::Stdio};

use anyhow::{Result, ensure};
use tokio::process::Command;

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
