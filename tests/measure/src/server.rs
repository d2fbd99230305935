//! What a whole server, or one backend of it, has used of the processors.

use std::{fs, time::Duration};

use anyhow::{Context, Result};
use tailnet_harness::process_tree::tree;
use tokio_postgres::Client;

use super::meter::cpu;

/// All processes of a Postgres on this machine.
#[derive(Debug, Clone, Copy)]
pub struct Server {
    postmaster: u32,
}

impl Server {
    /// The one that a session belongs to.
    ///
    /// # Errors
    /// When it is on another machine.
    pub async fn of(sql: &Client) -> Result<Self> {
        let backend: i32 = sql.query_one("SELECT pg_backend_pid()", &[]).await?.get(0);
        let status = fs::read_to_string(format!("/proc/{backend}/status"));
        let status = status.context("the server is not on this machine, or hides its processes")?;
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).context("a process has no parent")?;
        Ok(Self { postmaster: parent.trim().parse()? })
    }

    /// Seconds of CPU that its processes have used: those that run, and those that have ended.
    ///
    /// # Errors
    /// When the server is gone.
    pub fn cpu(&self) -> Result<f64> {
        let ended = ended(self.postmaster)?;
        // One that ends meanwhile is not there any more.
        let running = tree(self.postmaster).into_iter().filter_map(|pid| cpu(i32::try_from(pid).ok()?).ok());
        Ok(running.sum::<f64>() + ended)
    }
}

/// Seconds of CPU of the children that a process has waited for.
fn ended(pid: u32) -> Result<f64> {
    super::meter::ticks(&format!("/proc/{pid}/stat"), [13, 14])
}

/// How long one thread, such as a backend, has run, to the nanosecond. [`cpu`] knows hundredths of a second only.
///
/// # Errors
/// When there is no such process.
pub fn run_time(pid: i32) -> Result<Duration> {
    let path = format!("/proc/{pid}/schedstat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let nanoseconds = text.split(' ').next().and_then(|first| first.parse().ok());
    Ok(Duration::from_nanos(nanoseconds.with_context(|| format!("{path} has no time"))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both say of this process what it did.
    #[test]
    fn work_is_counted() {
        let pid = i32::try_from(std::process::id()).expect("a pid is small");
        // The first thread is not the one that runs this test.
        let thread = fs::read_link("/proc/thread-self").expect("there is a thread");
        let thread = thread.file_name().and_then(|name| name.to_str()?.parse().ok()).expect("it has a number");
        let (before, running) = (cpu(pid).expect("it lives"), run_time(thread).expect("it lives"));
        let mut work = 0_u64;
        while run_time(thread).expect("it lives") - running < Duration::from_millis(200) {
            work = std::hint::black_box(work + 1);
        }
        let used = cpu(pid).expect("it lives") - before;
        assert!(used >= 0.15, "{used} s of CPU, expected 0.2");
    }
}
