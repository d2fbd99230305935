//! The peer that has tunnels to all agents.

use std::{collections::HashSet, time::Duration};

use anyhow::{Result, bail};
use tailnet_tools::{checking::light_peer::Door, identity::TestIdentity};
use tokio::{sync::mpsc, time::timeout};
use uuid::Uuid;

use super::{
    figures::Coordination,
    member::{Member, News},
};
use crate::{record::Record, trace::Trace};

/// A runner of its own.
#[derive(Debug)]
pub struct Hub {
    pub member: Member,
    pub has_failed: bool,
    told: mpsc::UnboundedReceiver<Uuid>,
}

impl Hub {
    /// One that is not connected.
    pub fn new(identity: TestIdentity, door: Door, trace: &Trace) -> Self {
        let (sender, told) = mpsc::unbounded_channel();
        let member = Member::new(identity, None, door, trace);
        member.hear(move |of, news| {
            if let News::Node(_) = news {
                // The hub may be gone.
                let _ = sender.send(of);
            }
        });
        Self { member, has_failed: false, told }
    }

    /// Connects it and opens its tunnels.
    ///
    /// # Errors
    /// When that takes longer than `patience`, or goes wrong.
    pub async fn open(&mut self, agents: &[Uuid], patience: Duration, record: &Record<Coordination>) -> Result<()> {
        let opening = async {
            record.connected(self.member.connect(patience).await?);
            self.member.peer.announce(1).await;
            for agent in agents {
                self.member.peer.open(*agent).await;
            }
            Ok(())
        };
        match timeout(patience, opening).await {
            Ok(done) => done,
            Err(_) => bail!("tunnels to {} agents not opened in {patience:?}", agents.len()),
        }
    }

    /// Returns when it was told the nodes of all agents.
    ///
    /// # Errors
    /// When that takes longer than `patience`, or its websocket ends.
    pub async fn await_all(&mut self, agents: &[Uuid], patience: Duration) -> Result<()> {
        let mut missing: HashSet<Uuid> = agents.iter().copied().collect();
        let awaiting = async {
            while !missing.is_empty() {
                tokio::select! {
                    biased;
                    told = self.told.recv() => missing.remove(&told.expect("the hook has a sender")),
                    () = self.member.closed() => return false,
                };
            }
            true
        };
        let outcome = timeout(patience, awaiting).await;
        // From now on it is told much that nobody waits for.
        self.member.stop_hearing();
        match outcome {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.member.trouble(|_| false).unwrap_or_else(|| anyhow::anyhow!("closed"))),
            Err(_) => bail!("not told the nodes of {} agents, of {}, in {patience:?}", missing.len(), agents.len()),
        }
    }
}
