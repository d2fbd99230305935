//! What a process has used of the processors.

use std::{fs, time::Duration};

use anyhow::{Context, Result};

/// Of /proc on every Linux.
pub const TICKS_A_SECOND: f64 = 100.0;

/// Seconds of CPU that a process has used.
pub fn cpu(pid: u32) -> Result<f64> {
    ticks(pid, [11, 12])
}

/// Seconds of CPU of the children that a process has waited for.
pub fn ended_children(pid: u32) -> Result<f64> {
    ticks(pid, [13, 14])
}

/// How long one thread, such as a backend, has run, to the nanosecond. [`cpu`] knows hundredths of a second only.
pub fn run_time(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/schedstat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let nanoseconds = text.split(' ').next().and_then(|first| first.parse().ok());
    Ok(Duration::from_nanos(nanoseconds.with_context(|| format!("{path} has no time"))?))
}

/// The sum of these fields of its `stat` file, in seconds; the field behind the name is the first.
fn ticks(pid: u32, fields: [usize; 2]) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    // The name of the process, in brackets, may hold anything.
    let values = text.rsplit_once(") ").map(|(_, rest)| rest.split(' ').collect::<Vec<_>>()).unwrap_or_default();
    let mut sum = 0.0;
    for field in fields {
        let value = values.get(field).and_then(|value| value.parse::<f64>().ok());
        sum += value.with_context(|| format!("{path} has no field {field}"))?;
    }
    Ok(sum / TICKS_A_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both say of this process what it did.
    #[test]
    fn work_is_counted() {
        let pid = std::process::id();
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
