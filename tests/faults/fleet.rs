//! All peers.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, ensure};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use tailnet_tools::{
    checking::{LightPeer, watched::Watched},
    identity::TestIdentity,
};
use tailnet_wire::Role;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use uuid::Uuid;

use crate::{actor::Actor, world::World};

/// In the first network clients reach every agent; in the second they need grants.
const NETWORKS: [&str; 2] = ["open", "granted"];

/// To how many agents a client opens tunnels.
const REACH: usize = 8;

/// To how many peers a hub opens tunnels.
const HUB_REACH: usize = 60;

/// So many of ten peers are agents. Each network has two hubs; all others are clients.
const AGENTS_OF_TEN: usize = 6;

/// The peers, each of which works in a task of its own.
#[derive(Debug)]
pub struct Fleet {
    /// Their books.
    pub peers: Vec<Arc<Watched>>,
    by_id: HashMap<Uuid, usize>,
    work: watch::Sender<bool>,
    working: Arc<AtomicUsize>,
    actors: JoinSet<()>,
}

#[derive(Debug, Default, Clone, Copy)]
pub struct Totals {
    pub requests: u64,
    /// Updates that arrived, each of which was checked against the one before.
    pub updates: u64,
    pub connected: usize,
}

impl Fleet {
    /// Makes so many peers, which are not connected and rest.
    pub async fn create(world: &World, peers: usize, rng: &mut StdRng) -> Result<Self> {
        let operator = world.operator().await?;
        let (work, works) = watch::channel(false);
        let working = Arc::new(AtomicUsize::new(0));
        let mut fleet = Self { peers: Vec::new(), by_id: HashMap::new(), work, working, actors: JoinSet::new() };
        for (number, network) in NETWORKS.into_iter().enumerate() {
            operator.create_network(network).await?;
            if number == 0 {
                operator.let_clients_reach_all_agents(network).await?;
            }
            let size = peers / NETWORKS.len();
            let role = |place: usize| match place {
                0 | 1 => Role::Hub,
                _ if place % 10 < AGENTS_OF_TEN => Role::Agent,
                _ => Role::Client,
            };
            let mut identities = Vec::new();
            for place in 0..size {
                let mut identity = operator.create_peer(network, role(place)).await?;
                identity.name = format!("{} {place} of {network}", identity.role);
                // Peers change their protocol, and a node must say the same over both.
                identity.plain = true;
                identities.push(identity);
            }
            for identity in &identities {
                let targets = targets(identity, &identities, rng);
                if number > 0 && identity.role == Role::Client {
                    for agent in &targets {
                        operator.grant_tunnel(identity.id, *agent).await?;
                    }
                }
                let peer = LightPeer::new(identity.clone());
                fleet.by_id.insert(identity.id, fleet.peers.len());
                fleet.peers.push(Arc::clone(peer.watched()));
                let rng = StdRng::seed_from_u64(rng.random());
                let actor = Actor::new(peer, targets, rng, works.clone(), world.doors.subscribe());
                fleet.actors.spawn(actor.run(Arc::clone(&fleet.working)));
            }
        }
        Ok(fleet)
    }

    pub fn work(&self) {
        self.work.send_replace(true);
    }

    /// Lets all peers rest. They finish what they have begun, and a peer that lost its websocket comes back first.
    pub async fn rest(&self, deadline: Duration) -> Result<()> {
        self.work.send_replace(false);
        let resting = async {
            while self.working.load(Ordering::Acquire) > 0 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let rested = timeout(deadline, resting).await.is_ok();
        ensure!(
            rested,
            "after {deadline:?} {} peers cannot come to rest: {}",
            self.working.load(Ordering::Acquire),
            self.unconnected()
        );
        Ok(())
    }

    fn unconnected(&self) -> String {
        let accounts = self.peers.iter().map(|peer| peer.account());
        let missing = accounts.filter(|account| account.wants_socket && account.proxy.is_none());
        let names: Vec<String> = missing.map(|account| account.identity.name.clone()).collect();
        format!("without a websocket are {names:?}")
    }

    pub fn find(&self, id: Uuid) -> Option<&Arc<Watched>> {
        self.by_id.get(&id).map(|place| &self.peers[*place])
    }

    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for peer in &self.peers {
            let account = peer.account();
            totals.requests += account.requests;
            totals.updates += account.received.updates;
            totals.connected += usize::from(account.proxy.is_some());
        }
        totals
    }

    /// Some of the peers that are connected: one in `share`.
    pub fn some(&self, share: u32, rng: &mut StdRng) -> Vec<Arc<Watched>> {
        let connected = self.peers.iter().filter(|peer| peer.account().proxy.is_some());
        connected.filter(|_| rng.random_range(0..share) == 0).cloned().collect()
    }
}

/// The peers to which a peer may open tunnels.
fn targets(of: &TestIdentity, network: &[TestIdentity], rng: &mut StdRng) -> Vec<Uuid> {
    let others = network.iter().filter(|other| other.id != of.id);
    let (may, reach): (Vec<Uuid>, usize) = match of.role {
        Role::Agent => (Vec::new(), 0),
        Role::Client => (others.filter(|other| other.role == Role::Agent).map(|other| other.id).collect(), REACH),
        Role::Hub => (others.map(|other| other.id).collect(), HUB_REACH),
    };
    may.sample(rng, reach).copied().collect()
}
