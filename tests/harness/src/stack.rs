//! Everything that one test runs on.

use std::panic::Location;

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use tailnet_tools::{cluster, identity::TestIdentity, message::Request};
use tailnet_wire::Role;
use tokio::sync::OnceCell;

use crate::{
    database::Database,
    marker::Marker,
    operator::{Operator, Peers},
    private_cluster::PrivateCluster,
    proxy::{Proxy, ProxyOption},
    relay::Relay,
    test_peer::TestPeer,
};

/// The network in which peers are made, unless a test says otherwise.
pub const NETWORK: &str = "home";

/// A database with the extension, a network in it, and proxies.
#[derive(Debug)]
pub struct Stack {
    pub operator: Operator,
    proxies: Vec<Proxy>,
    relays: Vec<Relay>,
    database: Database,
    cluster: Option<PrivateCluster>,
    standby: Option<PrivateCluster>,
    marker: OnceCell<Marker>,
}

#[derive(Debug, Default)]
pub struct Setup<'a> {
    pub proxies: usize,
    /// What each of them is started with.
    pub options: &'a [ProxyOption<'a>],
    /// On a Postgres of its own, which the test may kill.
    pub private_cluster: bool,
    /// Each proxy reaches Postgres through a relay of its own.
    pub relayed: bool,
    /// On a Postgres of its own with a streaming standby, which the proxies know of.
    pub standby: bool,
    /// What its peers speak.
    pub peers: Peers,
}

impl<'a> Setup<'a> {
    /// So many proxies on the Postgres that all tests share.
    pub fn of(proxies: usize) -> Self {
        Self { proxies, ..Self::default() }
    }

    /// The proxies have these options.
    #[must_use]
    pub fn with(self, options: &'a [ProxyOption<'a>]) -> Self {
        Self { options, ..self }
    }
}

/// A client on the left proxy and an agent on the right one that know each other.
#[derive(Debug)]
pub struct Pair {
    /// It has opened a tunnel to the agent, and announced its node 1.
    pub client: TestPeer,
    pub agent: TestPeer,
}

impl Stack {
    pub async fn start(setup: Setup<'_>) -> Result<Self> {
        let Setup { proxies, options, private_cluster, relayed, standby, peers } = setup;
        let cluster = if private_cluster || standby { Some(PrivateCluster::start("e2e").await?) } else { None };
        let superuser = cluster.as_ref().map_or_else(cluster::superuser, PrivateCluster::superuser)?;
        let database = Database::create_in(superuser, proxies).await?;
        let operator = Operator { peers, ..database.operator().await? };
        operator.create_network(NETWORK).await.context("cannot create a network")?;
        // Pretend that Postgres has run for a long time. Otherwise a new proxy waits for peers to come back.
        let ran = "INSERT INTO tailnet_private.restoration (ended_at) VALUES (now() - '1 hour'::interval)";
        operator.sql.batch_execute(ran).await?;
        let standby = match &cluster {
            Some(cluster) if standby => Some(cluster.start_standby("e2e").await?),
            _ => None,
        };
        let address = database.address()?;
        let beside = standby.as_ref().map(PrivateCluster::address).transpose()?;
        let mut relays = Vec::new();
        for _ in database.logins().iter().filter(|_| relayed) {
            relays.push(Relay::start(address).await?);
        }
        let starts = database.logins().iter().enumerate().map(async |(index, login)| {
            let place = relays.get(index).map_or(address, Relay::address);
            let places: Vec<_> = [Some(place), beside].iter().flatten().map(ToString::to_string).collect();
            let (name, url) = (format!("proxy-{}", index + 1), database.url_at(login, &places));
            Proxy::start_with(&name, &login.role, &url, options).await
        });
        let proxies = try_join_all(starts).await?;
        Ok(Self { operator, proxies, relays, database, cluster, standby, marker: OnceCell::new() })
    }

    pub fn database(&self) -> &Database {
        &self.database
    }

    /// The Postgres, of a [`Setup`] that says so.
    pub fn cluster(&self) -> &PrivateCluster {
        self.cluster.as_ref().expect("the setup has a private cluster")
    }

    /// Its standby, of a [`Setup`] that says so.
    pub fn standby(&self) -> &PrivateCluster {
        self.standby.as_ref().expect("the setup has a standby")
    }

    /// The relay between the left proxy and Postgres, in a [`Setup`] that says so.
    pub fn left_relay(&self) -> &Relay {
        self.relays.first().expect("the setup has relays")
    }

    /// The relay between the right proxy and Postgres, in a [`Setup`] that says so.
    pub fn right_relay(&self) -> &Relay {
        self.relays.last().expect("the setup has relays")
    }

    pub fn proxies(&self) -> &[Proxy] {
        &self.proxies
    }

    /// The proxy of the client of a pair.
    pub fn left(&self) -> &Proxy {
        self.proxies.first().expect("a stack has a proxy")
    }

    /// The proxy of the agent of a pair. If there is only one proxy, it is that one.
    pub fn right(&self) -> &Proxy {
        self.proxies.last().expect("a stack has a proxy")
    }

    pub async fn create(&self, role: Role) -> Result<TestIdentity> {
        self.operator.create_peer(NETWORK, role).await
    }

    /// Makes a client and an agent that it may open tunnels to.
    pub async fn create_pair(&self) -> Result<(TestIdentity, TestIdentity)> {
        let (client, agent) = (self.create(Role::Client).await?, self.create(Role::Agent).await?);
        self.operator.grant_tunnel(client.id, agent.id).await?;
        Ok((client, agent))
    }

    /// Makes a peer, and connects it to the left proxy.
    pub async fn connect_left(&self, role: Role) -> Result<TestPeer> {
        self.left().connect(&self.create(role).await?).await
    }

    /// Makes a peer, and connects it to the right proxy.
    pub async fn connect_right(&self, role: Role) -> Result<TestPeer> {
        self.right().connect(&self.create(role).await?).await
    }

    /// A peer announces a node. Returns when that is committed.
    pub async fn bind(&self, peer: &mut TestPeer, version: u64) -> Result<()> {
        let node = peer.announce(version).await?;
        self.operator.until_bound(peer.id(), &node).await
    }

    /// Makes and connects a client and an agent, each with its node 1, opens the tunnel, and waits until both know.
    pub async fn pair(&self) -> Result<Pair> {
        let (client, agent) = self.create_pair().await?;
        let (mut client, mut agent) = (self.left().connect(&client).await?, self.right().connect(&agent).await?);
        agent.announce(1).await?;
        client.announce_with(1, Request::add_tunnel(agent.id())).await?;
        client.expect_each_other(&agent).await;
        Ok(Pair { client, agent })
    }

    /// Everything committed so far has been delivered to these peers, and all of it was expected.
    #[track_caller]
    pub fn assert_nothing_else<'a>(&'a self, peers: &'a [&'a TestPeer]) -> impl Future<Output = Result<()>> + 'a {
        let at = Location::caller();
        async move {
            self.settle(peers).await?;
            peers.iter().for_each(|peer| peer.assert_nothing_else_at(at));
            Ok(())
        }
    }

    /// Returns when everything committed so far has been delivered to these peers of [`NETWORK`].
    pub async fn settle(&self, peers: &[&TestPeer]) -> Result<()> {
        let marker = self.marker.get_or_try_init(|| Marker::new(&self.operator, NETWORK, self.right())).await?;
        marker.pass(peers).await
    }

    pub(crate) fn logs(&self) -> String {
        self.proxies.iter().map(|proxy| format!("--- {} wrote:\n{}\n", proxy.name(), proxy.log())).collect()
    }

    pub(crate) async fn stop(self) -> Result<()> {
        let Self { operator, proxies, relays, database, cluster, standby, marker } = self;
        drop((operator, marker, relays));
        let mut outcome = Ok(());
        for proxy in proxies {
            outcome = outcome.and(proxy.stop().await);
        }
        if let Some(standby) = standby {
            outcome = outcome.and(standby.destroy().await);
        }
        match cluster {
            Some(cluster) => outcome.and(cluster.destroy().await),
            None => outcome.and(database.drop().await.context("cannot remove the database of the test")),
        }
    }
}
