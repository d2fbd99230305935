//! What a storm falls on: a database with a network of pairs, proxies with default options, and load processes.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use tailnet_harness::{Proxy, database::Database, private_cluster::PrivateCluster};
use tailnet_tools::websocket::Protocol;

use crate::{
    common::{
        meter::Meter,
        network::{self, Credentials},
        process::Memory,
        server::Server,
        statements::{Count, Statements},
    },
    peers::{
        cpu::{Cpu, Processes},
        fleet::Fleet,
    },
};

/// The most websockets of one proxy that are being opened at once: its queue of connections holds 1,024.
const IN_FLIGHT: usize = 1000;

pub const NETWORK: &str = "bench";

/// Peers that speak v2 ask for one. Nobody connects to the relay.
const DERP_MAP: &str = r#"{"Regions": {"999": {"RegionID": 999, "RegionCode": "bench", "RegionName": "bench",
    "Nodes": [{"Name": "999a", "RegionID": 999, "HostName": "derp.example.com"}]}}}"#;

/// Where everything happens.
#[derive(Debug)]
pub struct World {
    pub database: Database,
    pub meter: Meter,
    /// Agents connect to the first half, clients to the second.
    pub proxies: Vec<Proxy>,
    pub fleet: Fleet,
    pub processes: Processes,
    pub pairs: Vec<[Credentials; 2]>,
    /// All of them.
    pub peers: usize,
}

impl World {
    /// Makes it; nobody is connected.
    pub async fn create(cluster: &PrivateCluster, pairs: usize, proxies: usize, protocol: Protocol) -> Result<Self> {
        let database = Database::create_in(cluster.superuser()?, proxies).await?;
        let meter = Meter::open(&database).await?;
        let (_, peers) = network::create(&meter.sql, NETWORK, pairs, &["agent", "client"]).await?;
        let pairs: Vec<[Credentials; 2]> = peers.as_chunks().0.to_vec();
        if protocol == Protocol::V2 {
            let set = "SELECT tailnet.set_derp_map($1, $2::text::jsonb)";
            meter.sql.execute(set, &[&NETWORK, &DERP_MAP]).await.context("cannot set a DERP map")?;
        }
        // As if Postgres had run for long: a proxy that registers waits for nobody to come back.
        let ran = "INSERT INTO tailnet_private.restoration (ended_at) VALUES (now() - '1 hour'::interval)";
        meter.sql.batch_execute(ran).await?;
        // What was written so far must not be worked off while something is measured.
        meter.sql.batch_execute("VACUUM (ANALYZE)").await?;
        meter.sql.batch_execute("CHECKPOINT").await?;
        let starts = database.logins().iter().enumerate().map(async |(number, login)| {
            let end = if number < proxies / 2 { "agents" } else { "clients" };
            let name = format!("bench-{end}-{}", number % (proxies / 2) + 1);
            Proxy::start(&name, &login.role, &database.url(login)?).await
        });
        let proxies = try_join_all(starts).await?;
        let addresses = proxies.iter().map(address).collect::<Result<Vec<_>>>()?;
        let (agents, clients) = addresses.split_at(addresses.len() / 2);
        let ends: Vec<_> = agents.iter().zip(clients).map(|(agents, clients)| [*agents, *clients]).collect();
        let fleet = Fleet::start(&ends, &pairs, protocol, ends.len() * IN_FLIGHT).await?;
        let processes = Processes {
            postgres: Server::of(&meter.sql).await?,
            proxies: proxies.iter().map(Proxy::pid).collect::<Result<_>>()?,
            loads: fleet.pids()?,
        };
        Ok(Self { database, meter, proxies, fleet, processes, peers: 2 * pairs.len(), pairs })
    }

    /// What all processes have used so far.
    pub fn cpu(&self) -> Result<Cpu> {
        self.processes.cpu()
    }

    /// How much memory each proxy has.
    pub fn memory(&self) -> Result<Vec<Memory>> {
        self.processes.proxies.iter().map(|pid| Memory::of(*pid)).collect()
    }

    /// The statements so far.
    pub async fn statements(&self) -> Result<Statements> {
        Statements::count(&self.meter.sql).await
    }

    /// What all proxies ran since an earlier moment.
    pub async fn statements_since(&self, earlier: &Statements) -> Result<Count> {
        let roles: Vec<_> = self.proxies.iter().map(Proxy::role).collect();
        Ok(self.statements().await?.since(earlier, &roles))
    }

    /// Ends the processes and removes the database.
    /// Fails when a proxy had ended or panicked: then nothing that was measured counts.
    pub async fn remove(self) -> Result<()> {
        let Self { database, meter, proxies, fleet, .. } = self;
        drop((fleet, meter));
        for proxy in proxies {
            proxy.stop().await?;
        }
        database.drop().await
    }
}

/// Where a proxy listens.
fn address(proxy: &Proxy) -> Result<SocketAddr> {
    let url = proxy.url();
    url.trim_start_matches("ws://").parse().with_context(|| format!("{url} has no address"))
}
