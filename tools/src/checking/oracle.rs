//! Waits until all peers agree with the tables, and says by peer in what they differ if they do not.
//!
//! While peers work there are always [differences]; once they rest, there must soon be none.

use std::{
    fmt,
    sync::{Arc, MutexGuard},
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, bail};
use tokio::time::sleep;
use tokio_postgres::{Client, Config};

use super::{
    account::Account,
    differences::{Difference, differences},
    truth::Truth,
    watched::Watched,
};
use crate::cluster;

/// Between two looks at the tables.
const INTERVAL: Duration = Duration::from_millis(50);

/// The most peers whose differences are printed.
const MAX_PRINTED: usize = 12;

/// Compares peers with the tables of one database.
#[derive(Debug)]
pub struct Oracle {
    config: Config,
    sql: Option<Client>,
}

/// All agree.
#[derive(Debug, Clone, Copy)]
pub struct Agreement {
    /// How long it took.
    pub after: Duration,
    /// How many last words were compared.
    pub words: usize,
}

impl Oracle {
    /// Reads as superuser, or as any role with `tailnet_reader`.
    pub fn new(config: Config) -> Self {
        Self { config, sql: None }
    }

    /// Waits until all peers, and the proxies that must be registered, agree with the tables.
    ///
    /// # Errors
    /// At once, when a peer was told what could not follow; after the deadline, when there are differences left. Both
    /// with all of them, by peer.
    pub async fn agree(&mut self, peers: &[Arc<Watched>], proxies: &[String], deadline: Duration) -> Result<Agreement> {
        let begun = Instant::now();
        loop {
            let outcome = self.look(peers, proxies).await;
            match outcome {
                Ok((report, words)) if report.is_empty() => return Ok(Agreement { after: begun.elapsed(), words }),
                Ok((report, _)) if !report.faults.is_empty() => bail!("a peer was told what cannot follow\n{report}"),
                Ok((report, _)) if begun.elapsed() > deadline => {
                    bail!("after {deadline:?} the peers differ from the tables\n{report}")
                }
                // Postgres may not be back yet.
                Err(error) if begun.elapsed() > deadline => return Err(error.context("cannot read the tables")),
                Ok(_) | Err(_) => sleep(INTERVAL).await,
            }
        }
    }

    async fn look(&mut self, peers: &[Arc<Watched>], proxies: &[String]) -> Result<(Report, usize)> {
        let truth = match &mut self.sql {
            Some(sql) if !sql.is_closed() => Truth::read(sql).await,
            _ => Truth::read(self.sql.insert(cluster::connect(&self.config).await?)).await,
        };
        let truth = truth.inspect_err(|_| self.sql = None).map_err(|error| anyhow!("{error:#}"))?;
        let mut report = Report::default();
        if truth.coordinators != proxies {
            report.head = format!("expected the coordinators {proxies:?}, found {:?}\n", truth.coordinators);
        }
        let mut words = 0;
        for peer in peers {
            let account = peer.account();
            words += account.received.words().len();
            report.add(&truth, account);
        }
        report.explain(peers);
        Ok((report, words))
    }
}

/// The differences of all peers.
#[derive(Debug, Default)]
struct Report {
    head: String,
    peers: usize,
    text: String,
    /// Of peers that were told what cannot follow: waiting will not help.
    faults: Vec<String>,
}

impl Report {
    /// Adds what those did of whom somebody was told what cannot follow.
    fn explain(&mut self, peers: &[Arc<Watched>]) {
        let named = |id: &str| self.faults.iter().any(|fault| fault.contains(&format!(" of {id}")));
        let mut texts = Vec::new();
        for peer in peers {
            let account = peer.account();
            if named(&account.identity.id.to_string()) {
                texts.push(format!("  {} did:\n    {}\n", Named(&account), account.received.own().join("\n    ")));
            }
        }
        self.faults.extend(texts);
    }

    fn is_empty(&self) -> bool {
        self.head.is_empty() && self.peers == 0
    }

    fn add(&mut self, truth: &Truth, account: MutexGuard<'_, Account>) {
        let found = differences(truth, &account);
        let faults = &account.received.faults;
        if found.is_empty() && faults.is_empty() {
            return;
        }
        self.peers += 1;
        let printed = if faults.is_empty() { self.peers } else { self.faults.len() };
        if printed > MAX_PRINTED {
            return;
        }
        let mut text = format!("  {}, on {:?}\n", Named(&account), account.proxy);
        for fault in faults {
            text += &format!("    told {fault}\n");
        }
        for Difference { about, expected, found } in found {
            let about = about.map(|id| format!("about {id}: ")).unwrap_or_default();
            text += &format!("    {about}expected {expected}, found {found}\n");
        }
        text += &account.received.to_string();
        if faults.is_empty() {
            self.text += &text;
        } else {
            self.faults.push(text);
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.head, self.faults.concat(), self.text)?;
        write!(f, "{} peers differ", self.peers)
    }
}

/// A peer as failures name it.
#[derive(Debug)]
pub struct Named<'a>(pub &'a Account);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0.identity.name, self.0.identity.id)
    }
}
