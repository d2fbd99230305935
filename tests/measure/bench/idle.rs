//! Nobody does anything: peers are pinged and answer, and agents' heartbeats are written.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use crate::{cpu::Cpu, options::Scale, world::World};

/// The proxies' default: each peer is pinged once in it.
const PING_INTERVAL: Duration = Duration::from_secs(15);

/// What it costs.
#[derive(Debug, Serialize)]
pub struct Idle {
    /// Agents on the first proxy, which write heartbeats; as many clients on the second.
    pub agents: usize,
    /// CPU, for each ping interval.
    pub intervals: Vec<Cpu>,
}

/// Looks on.
///
/// # Errors
/// When a process has ended.
pub async fn run(world: &World, scale: &Scale) -> Result<Idle> {
    let begin = Instant::now();
    let count = (scale.idle.as_secs() / PING_INTERVAL.as_secs()).max(1);
    let mut intervals = Vec::new();
    let mut before = world.cpu()?;
    for number in 1..=u32::try_from(count)? {
        sleep_until(begin + PING_INTERVAL * number).await;
        let now = world.cpu()?;
        intervals.push(now.since(&before));
        before = now;
    }
    Ok(Idle { agents: world.peers / 2, intervals })
}
