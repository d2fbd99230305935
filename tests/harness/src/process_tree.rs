//! Signals for a process and those that it started.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

/// A process and its descendants that live, the eldest first.
pub fn tree(pid: u32) -> Vec<u32> {
    let mut pids = vec![pid];
    let mut place = 0;
    while let Some(pid) = pids.get(place) {
        // None: it has just ended.
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        pids.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        place += 1;
    }
    pids.retain(|pid| Path::new(&format!("/proc/{pid}")).exists());
    pids
}

/// Sends a signal to processes. Those that have ended meanwhile do not matter, as long as one has not.
///
/// # Errors
/// When none of them lives.
pub async fn signal(signal: &str, pids: &[u32]) -> Result<()> {
    let pids = pids.iter().map(u32::to_string);
    let kill = r#"signal=$1; shift; status=1; for pid; do kill -"$signal" "$pid" && status=0; done; exit $status"#;
    let output = Command::new("sh").args(["-c", kill, "sh", signal]).args(pids).output().await;
    ensure!(output.context("cannot run sh")?.status.success(), "there is no process to send SIG{signal} to");
    Ok(())
}

/// Whether a process does anything any more: one that nobody has waited for yet does not.
pub(super) fn is_dead(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    !status.contains("State:") || status.contains("State:\tZ") || status.contains("State:\tX")
}

/// Whether all threads of a process are stopped: a signal takes its time to reach them.
///
/// # Errors
/// When there is no such process.
pub(super) fn is_stopped(pid: u32) -> Result<bool> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).context("there is no such process")?;
    for thread in threads {
        let status = std::fs::read_to_string(thread?.path().join("status")).unwrap_or_default();
        if status.contains("State:") && !status.contains("State:\tT") {
            return Ok(false);
        }
    }
    Ok(true)
}
