//! Calls `tailnet.bind_peers` from one connection, as a binder of a proxy does, and measures each call.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use tailnet_tools::cluster;
use tokio_postgres::{Client, Statement};
use uuid::Uuid;

use crate::{
    common::{figure::Figure, node::LARGE, process::run_time},
    engines::crowd::Crowd,
};

const CALL: &str = "SELECT tailnet.bind_peers($1, $2, $3, $4)";

/// What the calls of this database's only proxy did with pages so far.
const PAGES: &str = "
    SELECT coalesce(sum(s.shared_blks_hit), 0)::float8, coalesce(sum(s.shared_blks_read), 0)::float8,
           coalesce(sum(s.shared_blks_written), 0)::float8,
           coalesce(sum(s.blk_read_time), 0)::float8, coalesce(sum(s.blk_write_time), 0)::float8
    FROM pg_stat_statements s
    JOIN pg_roles r ON r.oid = s.userid
    WHERE r.rolname = $1 AND s.query LIKE '%tailnet.bind_peers%'";

/// Statements of the extension are planned for each of the first 64 executions.
const WARM_UP: usize = 80;

/// What one call took.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    elapsed: Duration,
    cpu: Duration,
    updates: usize,
}

/// What calls took, for each update.
#[derive(Debug, Serialize, Deserialize)]
pub struct Cost {
    /// Microseconds until the answer was there. Median of the calls of a round; spread over the rounds.
    pub us: Figure,
    /// Microseconds of CPU of the backend.
    pub cpu_us: Figure,
    /// Pages found in the buffers of Postgres.
    pub hits: f64,
    /// Pages that were not: they came from the kernel's cache, or from the disk.
    pub reads: f64,
    /// Pages written to make room.
    pub writes: f64,
    /// Microseconds that reading and writing pages took; they are part of `us`.
    pub pages_us: f64,
}

/// All that calls of one sort took, by round.
#[derive(Debug, Default)]
pub struct Series {
    rounds: Vec<Vec<Call>>,
    pages: [f64; 5],
}

#[derive(Debug)]
pub struct Caller {
    client: Client,
    pid: u32,
    statement: Statement,
    registration: Uuid,
    role: String,
    /// The version of the next node.
    version: u64,
}

impl Caller {
    /// Connects to a crowd in the role of its proxy, and calls as often as it takes until plans are kept.
    pub async fn connect(crowd: &Crowd) -> Result<Self> {
        let login = &crowd.database.logins()[0];
        // Times of pages are part of what is asked.
        crowd.sql.batch_execute(&format!("ALTER ROLE {} SET track_io_timing = on", login.role)).await?;
        let client = cluster::connect(&crowd.database.as_proxy(login)).await?;
        let pid = u32::try_from(client.query_one("SELECT pg_backend_pid()", &[]).await?.get::<_, i32>(0))?;
        let statement = client.prepare(CALL).await?;
        let (registration, role) = (crowd.registration, login.role.clone());
        let mut caller = Self { client, pid, statement, registration, role, version: 1 };
        let agents = crowd.agents(&(1..=10).collect::<Vec<_>>()).await?;
        for _ in 0..WARM_UP {
            caller.update(&agents).await?;
        }
        Ok(caller)
    }

    /// Each of these agents announces a new node, in one call.
    /// Fails when the extension refuses one.
    pub async fn update(&mut self, agents: &[Uuid]) -> Result<Call> {
        self.version += 1;
        let nodes: Vec<String> = agents.iter().map(|id| LARGE.text(*id, self.version)).collect();
        let sessions = vec![1_i64; agents.len()];
        let cpu = run_time(self.pid)?;
        let begun = Instant::now();
        let row = self.client.query_one(&self.statement, &[&self.registration, &agents, &sessions, &nodes]).await?;
        let elapsed = begun.elapsed();
        let cpu = run_time(self.pid)? - cpu;
        let bound: i32 = row.get(0);
        ensure!(usize::try_from(bound)? == agents.len(), "{bound} of {} nodes were bound", agents.len());
        Ok(Call { elapsed, cpu, updates: agents.len() })
    }

    async fn pages(&self, crowd: &Crowd) -> Result<[f64; 5]> {
        let row = crowd.sql.query_one(PAGES, &[&self.role]).await.context("pg_stat_statements must be preloaded")?;
        Ok(std::array::from_fn(|column| row.get(column)))
    }
}

impl Series {
    pub fn begin_round(&mut self) {
        self.rounds.push(Vec::new());
    }

    pub async fn call(&mut self, caller: &mut Caller, crowd: &Crowd, agents: &[Uuid]) -> Result<()> {
        let before = caller.pages(crowd).await?;
        let call = caller.update(agents).await?;
        let after = caller.pages(crowd).await?;
        for (sum, (before, after)) in self.pages.iter_mut().zip(before.iter().zip(after)) {
            *sum += after - before;
        }
        self.rounds.last_mut().context("a round has begun")?.push(call);
        Ok(())
    }

    /// What an update took.
    pub fn cost(&self) -> Cost {
        let updates: usize = self.rounds.iter().flatten().map(|call| call.updates).sum();
        let [hits, reads, writes, reading, writing] = self.pages.map(|amount| amount / updates.max(1) as f64);
        Cost {
            us: Figure::of(self.medians(|call| call.elapsed)),
            cpu_us: Figure::of(self.medians(|call| call.cpu)),
            hits,
            reads,
            writes,
            pages_us: (reading + writing) * 1e3,
        }
    }

    /// This against another, round by round: elapsed time, and CPU.
    pub fn against(&self, other: &Self) -> [Figure; 2] {
        [|call: &Call| call.elapsed, |call: &Call| call.cpu].map(|of| {
            let ratios = self.medians(of).into_iter().zip(other.medians(of)).map(|(own, other)| own / other);
            Figure::of(ratios.collect())
        })
    }

    /// Of each round, in microseconds an update.
    fn medians(&self, of: impl Fn(&Call) -> Duration) -> Vec<f64> {
        let each = |call: &Call| of(call).as_secs_f64() * 1e6 / call.updates as f64;
        self.rounds.iter().map(|round| Figure::of(round.iter().map(each).collect()).median).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_compared_with_each_other() {
        let round = |us: u64| {
            let call =
                |us| Call { elapsed: Duration::from_micros(us), cpu: Duration::from_micros(us / 2), updates: 10 };
            vec![call(us), call(us * 9), call(us)]
        };
        let slow = Series { rounds: vec![round(300), round(200), round(800)], pages: [30.0, 60.0, 0.0, 0.045, 0.045] };
        let fast = Series { rounds: vec![round(100), round(100), round(200)], pages: [0.0; 5] };
        let cost = slow.cost();
        assert_eq!((cost.us.median, cost.us.max, cost.cpu_us.median), (30.0, 80.0, 15.0));
        assert_eq!(((cost.hits * 90.0).round(), (cost.pages_us * 90.0).round()), (30.0, 90.0));
        let [elapsed, cpu] = slow.against(&fast);
        assert_eq!((elapsed.median, elapsed.min, elapsed.max, cpu.max), (3.0, 2.0, 4.0, 4.0));
    }
}
