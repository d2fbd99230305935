//! The place of one proxy: processes come and go, name and relays stay.

use anyhow::{Context, Result, ensure};
use tailnet_harness::{Proxy, Relay, database::Login, proxy::ProxyOption, relay::Traffic};
use tokio::sync::Mutex;

/// Proxies find within seconds that a peer is gone. All else is as operators leave it.
const OPTIONS: &[ProxyOption] = &[("--ping-interval", "2s"), ("--drain-time", "10s")];

/// The place of a proxy.
#[derive(Debug)]
pub struct Slot {
    /// The name of all its proxies.
    pub name: String,
    /// One for each place of Postgres.
    pub relays: [Relay; 2],
    login: Login,
    url: String,
    /// None: between two processes. A fault locks it while it works on it.
    pub process: Mutex<Option<Proxy>>,
}

impl Slot {
    /// A place with a proxy that is ready; `url` makes its URL of the addresses of the relays.
    pub async fn start(name: String, login: Login, relays: [Relay; 2], url: String) -> Result<Self> {
        let slot = Self { name, relays, login, url, process: Mutex::new(None) };
        slot.start_proxy(&mut *slot.process.lock().await).await?;
        Ok(slot)
    }

    pub async fn start_proxy(&self, process: &mut Option<Proxy>) -> Result<()> {
        *process = Some(Proxy::start_with(&self.name, &self.login.role, &self.url, OPTIONS).await?);
        Ok(())
    }

    pub async fn kill(&self, process: &mut Option<Proxy>) -> Result<()> {
        let proxy = process.take().context("there is no proxy to kill")?;
        proxy.kill().await?;
        proxy.stop().await
    }

    pub async fn terminate(&self, process: &mut Option<Proxy>) -> Result<()> {
        let proxy = process.take().context("there is no proxy to end")?;
        proxy.terminate().await?;
        proxy.stop().await
    }

    /// Treats everything that the proxy and Postgres send each other like this from now on.
    pub fn set(&self, traffic: Traffic) {
        self.relays.iter().for_each(|relay| relay.set(traffic));
    }

    /// The proxy lives, and no task of it panicked.
    pub async fn check(&self) -> Result<()> {
        let process = self.process.lock().await;
        let proxy = process.as_ref().with_context(|| format!("{} is not there", self.name))?;
        proxy.pid()?;
        ensure!(!proxy.log().contains("panicked at"), "a task of {} panicked", self.name);
        Ok(())
    }
}
