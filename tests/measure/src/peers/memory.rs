//! How much memory a process has.

use std::fs;

use anyhow::{Context, Result};
use serde::Serialize;

/// In bytes.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Memory {
    /// What is resident.
    pub rss: u64,
    /// The same, with what it shares with others (its program and libraries) divided among them.
    pub pss: u64,
}

impl Memory {
    /// Of a process, now.
    pub fn of(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        Self::parse(&text).with_context(|| format!("cannot understand {path}"))
    }

    /// What is resident, read at next to no cost; None: there is no such process.
    pub fn resident(pid: u32) -> Option<u64> {
        let pages = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
        Some(pages.split(' ').nth(1)?.parse::<u64>().ok()? * u64::try_from(rustix::param::page_size()).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| {
            let kibibytes = text.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB"))?;
            Some(kibibytes.parse::<u64>().ok()? << 10)
        };
        Some(Self { rss: field("Rss:")?, pss: field("Pss:")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_read() {
        let text = "00400000-7fff ---p 00000000 00:00 0 [rollup]\nRss:                1204 kB\nPss:                 600 kB\nPss_Dirty: 1 kB\n";
        let memory = Memory::parse(text).expect("both are there");
        assert_eq!((memory.rss, memory.pss), (1204 << 10, 600 << 10));
        let pid = std::process::id();
        let (exact, cheap) =
            (Memory::of(pid).expect("this process lives").rss, Memory::resident(pid).expect("it lives"));
        assert!(cheap > exact / 2 && cheap < exact * 2, "{cheap} and {exact}");
    }
}
