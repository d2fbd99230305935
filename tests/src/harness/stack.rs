//! Everything that one test runs on.

use std::panic::Location;

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use tailnet_wire::Role;
use tokio::sync::OnceCell;

use super::{
    Marker, Proxy, TestIdentity, TestPeer, cluster, database::Database, operator::Operator,
    private_cluster::PrivateCluster, proxy::ProxyOption,
};
use crate::message::Request;

/// The network in which peers are made, unless a test says otherwise.
pub const NETWORK: &str = "home";

/// A database with the extension, a network in it, and proxies.
#[derive(Debug)]
pub struct Stack {
    /// Works in the database.
    pub operator: Operator,
    proxies: Vec<Proxy>,
    database: Database,
    cluster: Option<PrivateCluster>,
    marker: OnceCell<Marker>,
}

/// What a stack consists of.
#[derive(Debug, Default)]
pub struct Setup {
    /// How many proxies.
    pub proxies: usize,
    /// What each of them is started with.
    pub options: &'static [ProxyOption],
    /// On a Postgres of its own, which the test may kill.
    pub private_cluster: bool,
}

/// A client on the left proxy and an agent on the right one that know each other.
#[derive(Debug)]
pub struct Pair {
    /// May open a tunnel to the agent, and has. Announced its node 1.
    pub client: TestPeer,
    /// Announced its node 1.
    pub agent: TestPeer,
}

impl Stack {
    /// Starts everything.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn start(setup: Setup) -> Result<Self> {
        let Setup { proxies, options, private_cluster } = setup;
        let cluster = if private_cluster { Some(PrivateCluster::start().await?) } else { None };
        let superuser = cluster.as_ref().map_or_else(cluster::superuser, PrivateCluster::superuser)?;
        let database = Database::create_in(superuser, proxies).await?;
        let operator = Operator { sql: database.connect().await? };
        operator.create_network(NETWORK).await.context("cannot create a network")?;
        let starts = database.logins().iter().zip(1..).map(async |(login, number)| {
            Proxy::start_with(&format!("proxy-{number}"), &login.role, &database.url(login)?, options).await
        });
        let proxies = try_join_all(starts).await?;
        Ok(Self { operator, proxies, database, cluster, marker: OnceCell::new() })
    }

    /// The database.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// The Postgres, of a [`Setup`] that says so.
    pub fn cluster(&self) -> &PrivateCluster {
        self.cluster.as_ref().expect("the setup has a private cluster")
    }

    /// All proxies.
    pub fn proxies(&self) -> &[Proxy] {
        &self.proxies
    }

    /// The proxy of one peer of a pair.
    pub fn left(&self) -> &Proxy {
        self.proxies.first().expect("a stack has a proxy")
    }

    /// The proxy of the other peer: the same, if there is one only.
    pub fn right(&self) -> &Proxy {
        self.proxies.last().expect("a stack has a proxy")
    }

    /// Makes a peer.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn create(&self, role: Role) -> Result<TestIdentity> {
        self.operator.create_peer(NETWORK, role).await
    }

    /// Makes a client and an agent that it may open tunnels to.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn create_pair(&self) -> Result<(TestIdentity, TestIdentity)> {
        let (client, agent) = (self.create(Role::Client).await?, self.create(Role::Agent).await?);
        self.operator.grant_tunnel(client.id, agent.id).await?;
        Ok((client, agent))
    }

    /// Makes and connects a client and an agent, each with its node 1, opens the tunnel, and waits until both know.
    ///
    /// # Errors
    /// When a peer cannot be made or connected.
    pub async fn pair(&self) -> Result<Pair> {
        let (client, agent) = self.create_pair().await?;
        let (mut client, mut agent) = (self.left().connect(&client).await?, self.right().connect(&agent).await?);
        let agent_node = agent.announce(1).await?;
        let client_node = client.identity().node(1);
        client.send(Request::node(&client_node).and_add_tunnel(agent.id())).await?;
        client.expect_node(agent.id(), &agent_node).await;
        agent.expect_node(client.id(), &client_node).await;
        Ok(Pair { client, agent })
    }

    /// Everything committed so far has been delivered to these peers, and all of it was expected.
    ///
    /// # Errors
    /// When the marker cannot be made.
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
    ///
    /// # Errors
    /// When the marker cannot be made.
    pub async fn settle(&self, peers: &[&TestPeer]) -> Result<()> {
        let marker = self.marker.get_or_try_init(|| Marker::new(&self.operator, NETWORK, self.right())).await?;
        marker.pass(peers).await
    }

    /// What all proxies wrote.
    pub(super) fn logs(&self) -> String {
        self.proxies.iter().map(|proxy| format!("--- {} wrote:\n{}\n", proxy.name(), proxy.log())).collect()
    }

    /// Ends the proxies and removes the database.
    ///
    /// # Errors
    /// When a proxy had ended by itself or panicked, or Postgres refuses.
    pub(super) async fn stop(self) -> Result<()> {
        let Self { operator, proxies, database, cluster, marker } = self;
        drop((operator, marker));
        let mut outcome = Ok(());
        for proxy in proxies {
            outcome = outcome.and(proxy.stop().await);
        }
        match cluster {
            Some(cluster) => outcome.and(cluster.destroy().await),
            None => outcome.and(database.drop().await.context("cannot remove the database of the test")),
        }
    }
}
