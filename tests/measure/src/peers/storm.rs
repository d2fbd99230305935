//! All peers connect at once.

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::{
    common::{process::Memory, progress::Progress, statements::Count},
    peers::{clock::Moment, control, cpu::Cpu, world::World},
};

/// What a storm took.
#[derive(Debug, Serialize)]
pub struct Storm {
    pub peers: usize,
    /// From the beginning until every view was right.
    pub seconds: f64,
    /// Statements of all proxies until then, all of them counted, for each peer.
    pub statements_a_peer: f64,
    /// The same by text.
    pub statements: Count,
    /// CPU until then.
    pub cpu: Cpu,
    /// Attempts to connect that were put off.
    pub put_off: u64,
    pub curve: Vec<Point>,
    /// What a proxy's memory was meanwhile.
    pub memory: Vec<Grown>,
}

/// How far a storm is.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Point {
    pub seconds: f64,
    /// Websockets that are open.
    pub connected: usize,
    /// Peers that were told the node of their partners.
    pub right: usize,
}

/// How far the proxy of the agents is.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Grown {
    /// Its websockets.
    pub peers: usize,
    /// Bytes that are resident.
    pub rss: u64,
}

/// Lets it fall on a world.
/// Fails when not every view becomes right.
pub async fn run(world: &mut World, progress: &Progress) -> Result<Storm> {
    let (cpu, statements) = (world.cpu()?, world.statements().await?);
    let proxy = world.processes.proxies[0];
    let memory = std::cell::RefCell::new(Vec::new());
    let connected = world
        .fleet
        .connect(|connected, right| {
            progress.now(&format!("{connected} connected, {right} right"));
            // A proxy that has ended shows soon enough.
            memory.borrow_mut().extend(Memory::resident(proxy).map(|rss| Grown { peers: connected / 2, rss }));
        })
        .await?;
    let cpu = world.cpu()?.since(&cpu);
    let statements = world.statements_since(&statements).await?;
    let totals = world.fleet.totals().await?;
    totals.expect_all_true()?;
    ensure!(totals.closed == 0, "{} websockets ended during the storm", totals.closed);
    Ok(Storm {
        peers: world.peers,
        seconds: connected.right.since(connected.begin).as_secs_f64(),
        statements_a_peer: statements.all as f64 / world.peers as f64,
        statements,
        cpu,
        put_off: totals.put_off,
        curve: curve(connected.begin, &connected.progress),
        memory: memory.into_inner(),
    })
}

/// The sum of what the processes said, whenever one said something.
fn curve(begin: Moment, processes: &[Vec<control::Progress>]) -> Vec<Point> {
    let mut words: Vec<_> =
        processes.iter().enumerate().flat_map(|(number, words)| words.iter().map(move |word| (number, word))).collect();
    words.sort_by_key(|(_, word)| word.at);
    let mut now = vec![(0, 0); processes.len()];
    let mut points = vec![Point { seconds: 0.0, connected: 0, right: 0 }];
    for (number, word) in words {
        now[number] = (word.connected, word.right);
        let (connected, right) = now.iter().fold((0, 0), |sum, word| (sum.0 + word.0, sum.1 + word.1));
        points.push(Point { seconds: word.at.since(begin).as_secs_f64(), connected, right });
    }
    points
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_curve_is_the_sum_of_the_processes() {
        let begin = Moment::now();
        let word = |millis, connected, right| control::Progress {
            at: begin.after(Duration::from_millis(millis)),
            connected,
            right,
        };
        let points = curve(begin, &[vec![word(100, 5, 1), word(300, 9, 9)], vec![word(200, 7, 2)]]);
        let seen: Vec<_> = points.iter().map(|point| (point.connected, point.right)).collect();
        assert_eq!(seen, [(0, 0), (5, 1), (12, 3), (16, 11)]);
        assert!((points[3].seconds - 0.3).abs() < 1e-6);
    }
}
