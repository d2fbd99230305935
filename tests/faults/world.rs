//! Everything that faults are injected into.

use std::{net::SocketAddr, sync::PoisonError};

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use tailnet_harness::{
    Proxy, Relay,
    database::Database,
    operator::{Operator, Peers},
};
use tailnet_tools::{checking::light_peer::Door, cluster, websocket::Protocol};
use tokio::sync::{Mutex, watch};
use tokio_postgres::Config;
use uuid::Uuid;

use crate::{postgres::Postgres, slot::Slot};

const PROXIES: usize = 3;

/// Postgres, proxies, and the relays between them.
#[derive(Debug)]
pub struct World {
    /// A fault locks it while it works on it.
    pub postgres: Mutex<Postgres>,
    pub slots: Vec<Slot>,
    /// The proxies that are there, for peers.
    pub doors: watch::Sender<Vec<Door>>,
    superuser: std::sync::Mutex<Config>,
    database: String,
}

impl World {
    pub async fn start(prefix: &str) -> Result<Self> {
        let postgres = Postgres::start(prefix).await?;
        let database = Database::create_in(postgres.superuser()?, PROXIES).await?;
        let addresses = postgres.addresses()?;
        let starts = database.logins().iter().zip(1..).map(async |(login, number)| {
            let relays = relays(addresses).await?;
            let url = database.url_at(login, &relays.each_ref().map(|relay| relay.address().to_string()));
            Slot::start(format!("proxy-{number}"), login.clone(), relays, url).await
        });
        let slots = try_join_all(starts).await?;
        let world = Self {
            superuser: std::sync::Mutex::new(database.superuser().clone()),
            database: database.name().to_owned(),
            postgres: Mutex::new(postgres),
            slots,
            doors: watch::Sender::default(),
        };
        for slot in &world.slots {
            world.show_door(slot, slot.process.lock().await.as_ref());
        }
        Ok(world)
    }

    pub fn superuser(&self) -> Config {
        self.superuser.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub async fn operator(&self) -> Result<Operator> {
        Ok(Operator { sql: cluster::connect(&self.superuser()).await?, peers: Peers::default() })
    }

    /// Tells the peers where to find the proxy of a slot, or that it is not there.
    pub fn show_door(&self, slot: &Slot, process: Option<&Proxy>) {
        self.doors.send_modify(|doors| {
            doors.retain(|door| door.name != slot.name);
            // A peer may come back over the other protocol: it is the same peer.
            doors.extend(process.into_iter().flat_map(|proxy| {
                [Protocol::V1, Protocol::V2].map(|protocol| Door {
                    name: slot.name.clone(),
                    url: proxy.url(),
                    protocol,
                })
            }));
        });
    }

    /// The standby is the primary now.
    pub fn moved(&self, postgres: &Postgres) -> Result<()> {
        let mut superuser = postgres.superuser()?;
        superuser.dbname(&self.database);
        *self.superuser.lock().unwrap_or_else(PoisonError::into_inner) = superuser;
        Ok(())
    }

    /// Makes again what the next fault needs and the last one has destroyed.
    pub async fn mend(&self) -> Result<()> {
        let mut postgres = self.postgres.lock().await;
        if postgres.mend().await.context("cannot make a new standby")? {
            for slot in &self.slots {
                slot.relays.iter().zip(postgres.addresses()?).for_each(|(relay, address)| relay.aim(address));
            }
        }
        Ok(())
    }

    /// The coordinator of a proxy; None: it is not registered.
    pub async fn coordinator(&self, name: &str) -> Result<Option<Uuid>> {
        let sql = "SELECT id FROM tailnet_private.coordinators WHERE name = $1 ORDER BY registered_at DESC LIMIT 1";
        self.operator().await?.option(sql, &[&name]).await
    }

    /// The names of all proxies, as the table of coordinators must have them.
    pub fn names(&self) -> Vec<String> {
        self.slots.iter().map(|slot| slot.name.clone()).collect()
    }

    pub async fn logs(&self, lines: usize) -> String {
        let mut text = String::new();
        for slot in &self.slots {
            let log = match slot.process.lock().await.as_ref() {
                Some(proxy) => proxy.log(),
                None => "(is not there)".to_owned(),
            };
            let skipped = log.lines().count().saturating_sub(lines);
            let tail: Vec<&str> = log.lines().skip(skipped).collect();
            text += &format!("--- {} wrote last:\n{}\n", slot.name, tail.join("\n"));
        }
        text
    }

    pub async fn stop(self) -> Result<()> {
        for slot in self.slots {
            if let Some(proxy) = slot.process.into_inner() {
                proxy.stop().await?;
            }
        }
        self.postgres.into_inner().destroy().await
    }
}

async fn relays([one, two]: [SocketAddr; 2]) -> Result<[Relay; 2]> {
    Ok([Relay::start(one).await?, Relay::start(two).await?])
}
