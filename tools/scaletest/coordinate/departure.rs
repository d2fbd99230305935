//! A peer that leaves and comes back.

use std::time::{Duration, Instant};

use anyhow::anyhow;
use tokio::{
    sync::mpsc,
    time::{self, timeout_at},
};
use uuid::Uuid;

use super::{
    figures::Coordination,
    options::Way,
    pair::{End, Event, Fault, Pair},
};
use crate::record::Record;

/// One of a pair must leave and come back.
#[derive(Debug, Clone, Copy)]
pub struct Departure {
    /// Not the agent, if it is only the tunnel.
    pub end: End,
    pub way: Way,
    /// It should have left at this moment.
    pub due: Instant,
}

/// What one end must be told: that the node of a peer has at least this version, no earlier than `since`.
#[derive(Debug)]
struct Missing {
    end: End,
    of: Uuid,
    version: u64,
    since: Instant,
}

impl Pair {
    /// Makes all departures that come, one after the other, until no more can come.
    ///
    /// # Errors
    /// When one takes longer than `patience` until everything is right again, or is under way at `deadline`, or something
    /// goes wrong.
    pub async fn churn(
        &mut self,
        mut departures: mpsc::UnboundedReceiver<Departure>,
        patience: Duration,
        deadline: time::Instant,
        record: &Record<Coordination>,
    ) -> Result<(), Fault> {
        loop {
            let departure = tokio::select! {
                departure = departures.recv() => departure,
                // Whatever it is told meanwhile.
                event = self.next() => {
                    event?;
                    continue;
                }
            };
            let Some(departure) = departure else { return Ok(()) };
            let by = deadline.min(time::Instant::now() + patience);
            match timeout_at(by, self.leave_and_return(departure, patience, record)).await {
                Ok(done) => done?,
                Err(_) => return Err((departure.end, anyhow!("not back with right views in {patience:?}"))),
            }
        }
    }

    async fn leave_and_return(
        &mut self,
        Departure { end, way, due }: Departure,
        patience: Duration,
        record: &Record<Coordination>,
    ) -> Result<(), Fault> {
        self.has_left = true;
        record.metrics.departures.inc();
        record.churn(|churn| {
            let count = match way {
                Way::Goodbye => &mut churn.goodbyes,
                Way::Vanish => &mut churn.vanished,
                Way::Tunnel => &mut churn.tunnels_closed,
            };
            *count += 1;
            churn.late_ms_max = churn.late_ms_max.max(due.elapsed().as_secs_f64() * 1e3);
        });
        match way {
            Way::Tunnel => self.close_tunnel().await?,
            Way::Goodbye | Way::Vanish => self.end_mut(end).leave(way == Way::Goodbye).await,
        }
        // What it was told before is no news to its next websocket.
        let since = Instant::now();
        if way != Way::Tunnel {
            let took = self.end_mut(end).connect(patience).await.map_err(|error| (end, error))?;
            record.metrics.connect_seconds.observe(took.as_secs_f64());
            record.churn(|churn| churn.reconnect_ms.add(took));
        }
        let (other, version) = (end.other(), self.next_version(end));
        let mut missing = vec![
            Missing { end, of: self.end(other).id, version: self.version(other), since },
            // It knows the earlier node, and may never be told that it was gone: both changes may reach it as one.
            Missing { end: other, of: self.end(end).id, version, since },
        ];
        let is_new_agent = end == End::Agent;
        missing.extend(self.hub.filter(|_| is_new_agent).map(|of| Missing { end, of, version: 1, since }));
        self.announce(end).await;
        let mut last = since;
        while !missing.is_empty() {
            if let Event::Told { end, of, version, at } = self.next().await? {
                missing.retain(|view| (view.end, view.of) != (end, of) || version < view.version || at < view.since);
                last = at;
            }
        }
        let took = last.saturating_duration_since(due);
        record.metrics.right_again_seconds.observe(took.as_secs_f64());
        record.churn(|churn| {
            churn.right_again += 1;
            churn.right_again_ms.add(took);
        });
        Ok(())
    }

    /// The client closes its tunnel; returns when it was told that the agent is gone for it.
    async fn close_tunnel(&mut self) -> Result<(), Fault> {
        let agent = self.agent.id;
        self.client.peer.close(agent).await;
        loop {
            match self.next().await? {
                Event::Parted { end: End::Client, of } if of == agent => return Ok(()),
                _ => {}
            }
        }
    }
}
