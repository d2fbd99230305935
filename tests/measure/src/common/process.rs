//! What the processes of this machine have used.

use std::time::Duration;

use anyhow::{Context, Result};
use procfs::{
    CpuTime, CurrentSI as _, KernelStats, page_size,
    process::{Process, Stat},
    ticks_per_second,
};
use serde::Serialize;

/// Seconds of CPU that a process has used.
pub fn cpu(pid: u32) -> Result<f64> {
    let stat = stat(pid)?;
    Ok((stat.utime + stat.stime) as f64 / ticks_per_second() as f64)
}

/// Seconds of CPU of the children that a process has waited for.
pub fn ended_children(pid: u32) -> Result<f64> {
    let stat = stat(pid)?;
    Ok((stat.cutime + stat.cstime) as f64 / ticks_per_second() as f64)
}

/// How long one thread, such as a backend, has run, to the nanosecond. [`cpu`] knows hundredths of a second only.
pub fn run_time(pid: u32) -> Result<Duration> {
    Ok(Duration::from_nanos(process(pid)?.schedstat()?.sum_exec_runtime))
}

/// Seconds of CPU of the whole machine: all that was not idle.
pub fn whole_machine() -> Result<f64> {
    Ok(busy(&KernelStats::current()?.total))
}

/// Steal is somebody else's, and guest time is in user.
fn busy(total: &CpuTime) -> f64 {
    let interrupts = total.irq_ms().unwrap_or(0) + total.softirq_ms().unwrap_or(0);
    (total.user_ms() + total.nice_ms() + total.system_ms() + interrupts) as f64 / 1e3
}

/// In bytes.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Memory {
    /// What is resident.
    pub rss: u64,
    /// The same, with what it shares with others (its program and libraries) divided among them.
    pub pss: u64,
}

impl Memory {
    /// Of a process.
    pub fn of(pid: u32) -> Result<Self> {
        let maps = process(pid)?.smaps_rollup()?.memory_map_rollup;
        let map = maps.iter().next().with_context(|| format!("process {pid} has no memory"))?;
        let bytes = |name: &str| map.extension.map.get(name).copied().with_context(|| format!("there is no {name}"));
        Ok(Self { rss: bytes("Rss")?, pss: bytes("Pss")? })
    }

    /// What is resident, read at next to no cost; None: there is no such process.
    pub fn resident(pid: u32) -> Option<u64> {
        Some(process(pid).ok()?.statm().ok()?.resident * page_size())
    }
}

fn process(pid: u32) -> Result<Process> {
    Process::new(i32::try_from(pid)?).with_context(|| format!("cannot look at process {pid}"))
}

fn stat(pid: u32) -> Result<Stat> {
    process(pid)?.stat().with_context(|| format!("cannot look at process {pid}"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use procfs::{ExplicitSystemInfo, FromBufReadSI as _};

    use super::*;

    #[test]
    fn what_is_idle_does_not_count() {
        let text = "cpu  100 0 50 900 7 20 30 5 0 0\nctxt 1\nbtime 1\nprocesses 1\n";
        let system =
            ExplicitSystemInfo { boot_time_secs: 0, ticks_per_second: 100, page_size: 4096, is_little_endian: true };
        let stats = KernelStats::from_buf_read(text.as_bytes(), &system).expect("it is that of a kernel");
        assert_eq!(busy(&stats.total), 2.0);
    }

    /// All say of this process what it did.
    #[test]
    fn work_is_counted() {
        let pid = std::process::id();
        // The first thread is not the one that runs this test.
        let thread = fs::read_link("/proc/thread-self").expect("there is a thread");
        let thread = thread.file_name().and_then(|name| name.to_str()?.parse().ok()).expect("it has a number");
        let (before, machine) = (cpu(pid).expect("it lives"), whole_machine().expect("this is Linux"));
        let running = run_time(thread).expect("it lives");
        let mut work = 0_u64;
        while run_time(thread).expect("it lives") - running < Duration::from_millis(200) {
            work = std::hint::black_box(work + 1);
        }
        let used = [cpu(pid).expect("it lives") - before, whole_machine().expect("this is Linux") - machine];
        assert!(used.iter().all(|used| *used >= 0.15), "{used:?} s of CPU, expected 0.2");
    }

    #[test]
    fn resident_memory_is_read_in_both_ways() {
        let pid = std::process::id();
        let (exact, cheap) = (Memory::of(pid).expect("it lives"), Memory::resident(pid).expect("it lives"));
        assert!(cheap > exact.rss / 2 && cheap < exact.rss * 2, "{cheap} and {exact:?}");
        assert!(exact.pss > 0 && exact.pss <= exact.rss, "{exact:?}");
    }
}
