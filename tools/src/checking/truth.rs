//! What the tables say, read at one moment.

use std::collections::{BTreeSet, HashMap, HashSet};

use anyhow::Result;
use serde_json::Value;
use tokio_postgres::{Client, IsolationLevel};
use uuid::Uuid;

use super::received::without_time;

/// The tables of one moment.
#[derive(Debug, Default)]
pub struct Truth {
    /// Names of the registered coordinators, sorted.
    pub coordinators: Vec<String>,
    peers: HashMap<Uuid, PeerRow>,
    tunnels: HashSet<(Uuid, Uuid)>,
    partners: HashMap<Uuid, BTreeSet<Uuid>>,
}

/// What the tables say of a peer.
#[derive(Debug, Default)]
pub struct PeerRow {
    /// Name of the proxy with its live session.
    pub coordinator: Option<String>,
    /// Its binding.
    pub binding: Option<Bound>,
}

/// A binding in the tables.
#[derive(Debug, Clone, PartialEq)]
pub enum Bound {
    /// To this node, without its time.
    Ok(Value),
    /// Lost.
    Lost,
}

impl Truth {
    /// Reads the tables, through the views that `tailnet_reader` may read: three statements, whatever the number of peers.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn read(sql: &mut Client) -> Result<Self> {
        let snapshot =
            sql.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true).start().await?;
        let mut truth = Self::default();
        for row in snapshot.query("SELECT name FROM tailnet.coordinators ORDER BY name", &[]).await? {
            truth.coordinators.push(row.get(0));
        }
        for row in snapshot.query("SELECT peer_id, coordinator, status, node FROM tailnet.peers", &[]).await? {
            let binding = match row.get::<_, Option<&str>>(2) {
                None => None,
                Some("lost") => Some(Bound::Lost),
                Some(_) => Some(Bound::Ok(row.get(3))),
            };
            truth.add_peer(row.get(0), row.get(1), binding);
        }
        for row in snapshot.query("SELECT src_id, dst_id FROM tailnet.tunnels", &[]).await? {
            truth.add_tunnel(row.get(0), row.get(1));
        }
        snapshot.commit().await?;
        Ok(truth)
    }

    /// A row of the table of peers.
    pub fn add_peer(&mut self, id: Uuid, coordinator: Option<String>, binding: Option<Bound>) {
        let binding = binding.map(|binding| match binding {
            Bound::Ok(node) => Bound::Ok(without_time(&node)),
            Bound::Lost => Bound::Lost,
        });
        self.peers.insert(id, PeerRow { coordinator, binding });
    }

    /// A row of the table of tunnels.
    pub fn add_tunnel(&mut self, src: Uuid, dst: Uuid) {
        self.tunnels.insert((src, dst));
        self.partners.entry(src).or_default().insert(dst);
        self.partners.entry(dst).or_default().insert(src);
    }

    /// The proxy that holds the live session of a peer.
    pub fn coordinator(&self, id: Uuid) -> Option<&str> {
        self.peers.get(&id)?.coordinator.as_deref()
    }

    /// The binding of a peer.
    pub fn binding(&self, id: Uuid) -> Option<&Bound> {
        self.peers.get(&id)?.binding.as_ref()
    }

    /// Whether a tunnel is there.
    pub fn has_tunnel(&self, src: Uuid, dst: Uuid) -> bool {
        self.tunnels.contains(&(src, dst))
    }

    /// Those that share a tunnel with a peer.
    pub fn partners(&self, id: Uuid) -> impl Iterator<Item = Uuid> {
        self.partners.get(&id).into_iter().flatten().copied()
    }

    /// Whether two peers share a tunnel.
    pub fn are_partners(&self, one: Uuid, other: Uuid) -> bool {
        self.partners.get(&one).is_some_and(|partners| partners.contains(&other))
    }
}
