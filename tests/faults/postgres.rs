//! A Postgres with a streaming standby that takes over when it is killed.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tailnet_harness::{
    operator::{Operator, Peers},
    private_cluster::PrivateCluster,
};
use tailnet_tools::cluster;
use tokio_postgres::Config;

/// Two clusters, at two places. One of them takes writes.
#[derive(Debug)]
pub struct Postgres {
    prefix: String,
    clusters: [Option<PrivateCluster>; 2],
    primary: usize,
    /// Killed, and to be removed.
    dead: Option<PrivateCluster>,
}

impl Postgres {
    pub async fn start(prefix: &str) -> Result<Self> {
        let primary = PrivateCluster::start(prefix).await?;
        let mut postgres = Self { prefix: prefix.to_owned(), clusters: [Some(primary), None], primary: 0, dead: None };
        postgres.mend().await?;
        Ok(postgres)
    }

    /// The one that takes writes.
    pub fn primary(&self) -> &PrivateCluster {
        self.clusters[self.primary].as_ref().expect("there always is a primary")
    }

    pub fn superuser(&self) -> Result<Config> {
        self.primary().superuser()
    }

    pub fn addresses(&self) -> Result<[SocketAddr; 2]> {
        let address = |place: usize| self.clusters[place].as_ref().context("there is no standby")?.address();
        Ok([address(0)?, address(1)?])
    }

    /// The primary is gone, and the standby is the primary.
    pub async fn fail_over(&mut self) -> Result<()> {
        let standby = self.clusters[1 - self.primary].as_ref().context("there is no standby")?;
        self.primary().kill_tree().await?;
        standby.promote().await?;
        self.primary = 1 - self.primary;
        self.dead = self.clusters[1 - self.primary].take();
        Ok(())
    }

    /// Makes a standby, if there is none. Returns whether there was none.
    pub async fn mend(&mut self) -> Result<bool> {
        if let Some(dead) = self.dead.take() {
            dead.destroy().await?;
        }
        let place = 1 - self.primary;
        if self.clusters[place].is_some() {
            return Ok(false);
        }
        self.clusters[place] = Some(self.primary().start_standby(&self.prefix).await?);
        // Not earlier: a primary would wait for a standby that is not there. A standby does not inherit the setting.
        let operator = Operator { sql: cluster::connect(&self.superuser()?).await?, peers: Peers::default() };
        operator.set(&["synchronous_standby_names = '*'"]).await?;
        Ok(true)
    }

    pub async fn destroy(self) -> Result<()> {
        for cluster in self.clusters.into_iter().chain([self.dead]).flatten() {
            cluster.destroy().await?;
        }
        Ok(())
    }
}
