//! Everything that faults are injected into.

use std::{net::SocketAddr, sync::PoisonError};

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use tailnet_harness::{Relay, database::Database};
use tailnet_tools::{checking::light_peer::Door, cluster};
use tokio::sync::{Mutex, watch};
use tokio_postgres::{Client, Config};
use uuid::Uuid;

use crate::{postgres::Postgres, slot::Slot};

/// How many proxies there are.
const PROXIES: usize = 3;

/// Postgres, proxies, and the relays between them.
#[derive(Debug)]
pub struct World {
    /// Held by whoever does something to it.
    pub postgres: Mutex<Postgres>,
    /// The proxies.
    pub slots: Vec<Slot>,
    /// The proxies that are there, for peers.
    pub doors: watch::Sender<Vec<Door>>,
    /// How to reach the primary and the database as superuser.
    superuser: std::sync::Mutex<Config>,
    database: String,
}

impl World {
    /// Starts everything. The clusters' names begin with `prefix`.
    ///
    /// # Errors
    /// When something does not start.
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
        world.open_doors().await;
        Ok(world)
    }

    /// How to reach the primary and the database as superuser.
    pub fn superuser(&self) -> Config {
        self.superuser.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Connects to the primary as superuser.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn sql(&self) -> Result<Client> {
        cluster::connect(&self.superuser()).await
    }

    /// Tells the peers which proxies are there. A slot that somebody works on keeps its door as it is.
    pub async fn open_doors(&self) {
        let mut doors = Vec::new();
        for slot in &self.slots {
            match slot.process.try_lock() {
                Ok(process) => doors.extend(process.as_ref().map(|proxy| slot.door(proxy))),
                Err(_) => doors.extend(self.doors.borrow().iter().find(|door| door.name == slot.name).cloned()),
            }
        }
        self.doors.send_replace(doors);
    }

    /// Tells the peers of one proxy; None: that it is not there.
    pub fn set_door(&self, name: &str, door: Option<Door>) {
        self.doors.send_modify(|doors| {
            doors.retain(|other| other.name != name);
            doors.extend(door);
        });
    }

    /// The standby is the primary now.
    ///
    /// # Errors
    /// When the URL of the primary is none.
    pub fn moved(&self, postgres: &Postgres) -> Result<()> {
        let mut superuser = postgres.superuser()?;
        superuser.dbname(&self.database);
        *self.superuser.lock().unwrap_or_else(PoisonError::into_inner) = superuser;
        Ok(())
    }

    /// Makes what the next fault needs, and this one has destroyed.
    ///
    /// # Errors
    /// When a standby does not start.
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
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn coordinator(&self, name: &str) -> Result<Option<Uuid>> {
        let sql = "SELECT id FROM tailnet_private.coordinators WHERE name = $1 ORDER BY registered_at DESC LIMIT 1";
        Ok(self.sql().await?.query_opt(sql, &[&name]).await?.map(|row| row.get(0)))
    }

    /// The names of all proxies, as the table of coordinators must have them.
    pub fn names(&self) -> Vec<String> {
        self.slots.iter().map(|slot| slot.name.clone()).collect()
    }

    /// The ends of the proxies' logs.
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

    /// Ends everything.
    ///
    /// # Errors
    /// When a proxy had ended by itself or panicked, or a cluster cannot be removed.
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
