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
pub async fn signal(signal: &str, pids: &[u32]) -> Result<()> {
    let pids = pids.iter().map(u32::to_string);
    let kill = r#"signal=$1; shift; status=1; for pid; do kill -"$signal" "$pid" && status=0; done; exit $status"#;
    let output = Command::new("sh").args(["-c", kill, "sh", signal]).args(pids).output().await;
    ensure!(output.context("cannot run sh")?.status.success(), "there is no process to send SIG{signal} to");
    Ok(())
}

/// Whether a process does nothing any more: it may be dead, although nobody has waited for it yet.
pub(crate) fn is_dead(pid: u32) -> bool {
    state(Path::new(&format!("/proc/{pid}"))).is_none_or(|state| "ZX".contains(state))
}

/// Whether all threads of a process are stopped: a signal takes its time to reach them.
pub(crate) fn is_stopped(pid: u32) -> Result<bool> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).context("there is no such process")?;
    for thread in threads {
        if state(&thread?.path()).is_some_and(|state| state != 'T') {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The letter of the state of a process or thread; None: it is gone.
fn state(place: &Path) -> Option<char> {
    let status = std::fs::read_to_string(place.join("status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("State:\t"))?.chars().next()
}
