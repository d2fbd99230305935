//! The SQL functions of the extension. Only this file and [`agents`], which has those about agents, name them.
//!
//! A function that takes a batch takes arrays of equal length, with one element for each entry.

pub mod agents;

use std::sync::Arc;

use tailnet_wire::{SessionId, limits::PROTOCOL};
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use crate::{
    batch::request::{Admitted, Authentication, Enrolled, Enrolment, Proof},
    postgres::{
        connection::{Connection, Param, column},
        database::Database,
        store_error::StoreError,
    },
    state::derp_maps::{Found, Map},
};

/// The answer to a heartbeat.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    /// How many silent coordinators it expired.
    pub expired: u64,
    /// The share of the queue of notifications that is in use.
    pub queue: f64,
}

/// The answer to a check of tokens.
#[derive(Debug)]
pub struct Authenticated {
    /// In the order of the tokens.
    pub answers: Vec<Authentication>,
    /// How many of the peers have a role that this proxy does not know.
    pub unknown_roles: u64,
}

/// A connection for calls. Each worker has one.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
}

impl Store {
    /// Connects, for one purpose.
    ///
    /// # Errors
    /// When no host can be reached or the login is refused.
    pub async fn connect(database: &Database, purpose: &str) -> Result<Self, StoreError> {
        Ok(Self { connection: Connection::open(database, purpose).await? })
    }

    /// Whether the connection is known to have ended.
    pub fn is_closed(&self) -> bool {
        self.connection.is_closed()
    }

    /// Registers the coordinator.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn register_coordinator(&mut self, id: Uuid, name: &str) -> Result<Uuid, StoreError> {
        let sql = "SELECT tailnet.register_coordinator($1, $2, $3)";
        self.connection.get("register_coordinator", sql, &[&id, &name, &PROTOCOL]).await
    }

    /// Says that the coordinator lives, and whether all its sessions are restored.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn heartbeat_coordinator(&mut self, registration: Uuid, restored: bool) -> Result<Answer, StoreError> {
        const SQL: &str = "
            SELECT expired, pg_catalog.pg_notification_queue_usage() FROM tailnet.heartbeat_coordinator($1, $2) expired";
        let function = "heartbeat_coordinator";
        let row = self.connection.row(function, SQL, &[&registration, &restored]).await?;
        let expired: i32 = column(&row, function, 0)?;
        Ok(Answer { expired: u64::try_from(expired).unwrap_or_default(), queue: column(&row, function, 1)? })
    }

    /// Ends what operators have taken away, and returns how much. There is more until it returns 0.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn reap(&mut self, registration: Uuid) -> Result<u64, StoreError> {
        let reaped: i32 = self.connection.get("reap", "SELECT tailnet.reap($1)", &[&registration]).await?;
        Ok(u64::try_from(reaped).unwrap_or_default())
    }

    /// Listens to the log of a registration on a connection.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn listen_coordinator(client: &Client, registration: Uuid) -> Result<(), StoreError> {
        let function = "listen_coordinator";
        let listening = client.execute("SELECT tailnet.listen_coordinator($1)", &[&registration]).await;
        listening.map(drop).map_err(|source| StoreError::Call { function, source })
    }

    /// Ends the registration; all its sessions are lost.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn close_coordinator(&mut self, registration: Uuid) -> Result<(), StoreError> {
        self.connection.call("close_coordinator", "SELECT tailnet.close_coordinator($1)", &[&registration]).await
    }

    /// The sessions that the tokens may open. A token may come with a resume token.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn authenticate(&mut self, hashes: &[&[u8]], resumes: &[&str]) -> Result<Authenticated, StoreError> {
        let function = "authenticate";
        let sql = "SELECT ordinal, refused, peer_id, session, role, proof, resume, network_id \
                   FROM tailnet.authenticate($1, $2)";
        let rows = self.connection.rows(function, sql, &[&hashes, &resumes]).await?;
        let mut authenticated =
            Authenticated { answers: vec![Authentication::Unknown; hashes.len()], unknown_roles: 0 };
        for row in rows {
            let ordinal: i32 = column(&row, function, 0)?;
            let index = usize::try_from(ordinal).ok().and_then(|ordinal| ordinal.checked_sub(1));
            let Some(place) = index.and_then(|index| authenticated.answers.get_mut(index)) else { continue };
            if let Some(refused) = column::<Option<String>>(&row, function, 1)? {
                *place = Authentication::Denied(refused.as_str().into());
                continue;
            }
            let id = SessionId { peer: column(&row, function, 2)?, number: column(&row, function, 3)? };
            let Ok(role) = column::<String>(&row, function, 4)?.parse() else {
                authenticated.unknown_roles += 1;
                continue;
            };
            let proof = Proof::new(&column::<String>(&row, function, 5)?);
            *place = Authentication::Admitted(Admitted {
                id,
                proof,
                role,
                network: column(&row, function, 7)?,
                only: None,
                resume: column(&row, function, 6)?,
            });
        }
        Ok(authenticated)
    }

    /// The peers that machines get for their tokens, once that is on disk.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn enrol(&mut self, hashes: &[&[u8]], machines: &[Uuid]) -> Result<Vec<Enrolment>, StoreError> {
        let function = "enrol";
        let sql = "SELECT ordinal, refused, peer_id, role, token FROM tailnet.enrol($1, $2)";
        let rows = self.connection.rows(function, sql, &[&hashes, &machines]).await?;
        let mut enrolments = vec![Enrolment::Unknown; hashes.len()];
        for row in rows {
            let ordinal: i32 = column(&row, function, 0)?;
            let index = usize::try_from(ordinal).ok().and_then(|ordinal| ordinal.checked_sub(1));
            let Some(place) = index.and_then(|index| enrolments.get_mut(index)) else { continue };
            *place = match column::<Option<String>>(&row, function, 1)? {
                Some(refused) => Enrolment::Denied(refused.as_str().into()),
                None => Enrolment::Enrolled(Enrolled {
                    peer_id: column(&row, function, 2)?,
                    role: column(&row, function, 3)?,
                    token: column(&row, function, 4)?,
                }),
            };
        }
        Ok(enrolments)
    }

    /// Whether the peer of each token may open a tunnel to the agent at the same place.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn judge_dials(&mut self, hashes: &[&[u8]], agents: &[Uuid]) -> Result<Vec<bool>, StoreError> {
        let function = "judge_dials";
        let sql = "SELECT tailnet.judge_dials($1, $2)";
        let rows = self.connection.rows(function, sql, &[&hashes, &agents]).await?;
        rows.first().map_or(Ok(Vec::new()), |row| column(row, function, 0))
    }

    /// The DERP maps of networks.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn derp_maps(&mut self, networks: &[Uuid]) -> Result<Vec<(Uuid, Found)>, StoreError> {
        let function = "derp_maps_of";
        let sql = "SELECT network_id, version, map FROM tailnet.derp_maps_of($1)";
        let rows = self.connection.rows(function, sql, &[&networks]).await?;
        let read = |row: &Row| {
            let version = column(row, function, 1)?;
            let text: Option<String> = column(row, function, 2)?;
            let map = text.and_then(|text| Map::new(version, text)).map(Arc::new);
            Ok((column(row, function, 0)?, Found { version, map }))
        };
        rows.iter().map(read).collect()
    }

    /// Opens sessions. Their tunnels to others than `only` are closed.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn attach_peers(
        &mut self,
        registration: Uuid,
        ids: &[SessionId],
        proofs: &[&str],
        only: &[Option<Uuid>],
    ) -> Result<(), StoreError> {
        let (peers, numbers) = unzip(ids);
        let sql = "SELECT tailnet.attach_peers($1, $2, $3, $4, $5)";
        let params: [Param<'_>; 5] = [&registration, &peers, &numbers, &proofs, &limits(only)];
        self.connection.call("attach_peers", sql, &params).await
    }

    /// Opens sessions again, with their nodes and the tunnels that they opened. Their tunnels to others than `only` are closed.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn restore_peers(
        &mut self,
        registration: Uuid,
        ids: &[SessionId],
        proofs: &[&str],
        nodes: &[Option<&str>],
        tunnels: &[(Uuid, Uuid)],
        only: &[Option<Uuid>],
    ) -> Result<(), StoreError> {
        let (peers, numbers) = unzip(ids);
        let (srcs, dsts): (Vec<_>, Vec<_>) = tunnels.iter().copied().unzip();
        let sql = "SELECT tailnet.restore_peers($1, $2, $3, $4, $5, $6, $7, $8)";
        let only = limits(only);
        let params: [Param<'_>; 8] = [&registration, &peers, &numbers, &proofs, &nodes, &srcs, &dsts, &only];
        self.connection.call("restore_peers", sql, &params).await
    }

    /// Announces nodes.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn bind_peers(
        &mut self,
        registration: Uuid,
        ids: &[SessionId],
        nodes: &[&str],
    ) -> Result<(), StoreError> {
        let (peers, numbers) = unzip(ids);
        let sql = "SELECT tailnet.bind_peers($1, $2, $3, $4)";
        self.connection.call("bind_peers", sql, &[&registration, &peers, &numbers, &nodes]).await
    }

    /// Ends sessions without a goodbye.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn lose_peers(&mut self, registration: Uuid, ids: &[SessionId]) -> Result<(), StoreError> {
        self.sessions("lose_peers", "SELECT tailnet.lose_peers($1, $2, $3)", registration, ids).await
    }

    /// Ends sessions with a goodbye.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn disconnect_peers(
        &mut self,
        registration: Uuid,
        ids: &[SessionId],
        proofs: &[&str],
    ) -> Result<(), StoreError> {
        let (peers, numbers) = unzip(ids);
        let sql = "SELECT tailnet.disconnect_peers($1, $2, $3, $4)";
        self.connection.call("disconnect_peers", sql, &[&registration, &peers, &numbers, &proofs]).await
    }

    /// Opens tunnels from the peers of the sessions.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn open_tunnels(&mut self, registration: Uuid, ends: &[(SessionId, Uuid)]) -> Result<(), StoreError> {
        self.ends("open_tunnels", "SELECT tailnet.open_tunnels($1, $2, $3, $4)", registration, ends).await
    }

    /// Closes tunnels from the peers of the sessions.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn close_tunnels(&mut self, registration: Uuid, ends: &[(SessionId, Uuid)]) -> Result<(), StoreError> {
        self.ends("close_tunnels", "SELECT tailnet.close_tunnels($1, $2, $3, $4)", registration, ends).await
    }

    /// Tells other peers that the peers of the sessions are ready for a handshake.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn ready_for_handshake(
        &mut self,
        registration: Uuid,
        ends: &[(SessionId, Uuid)],
    ) -> Result<(), StoreError> {
        self.ends("ready_for_handshake", "SELECT tailnet.ready_for_handshake($1, $2, $3, $4)", registration, ends).await
    }

    /// Asks for the pages of views that begin after these keys.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn view_peers(&mut self, registration: Uuid, afters: &[(SessionId, Uuid)]) -> Result<(), StoreError> {
        self.ends("view_peers", "SELECT tailnet.view_peers($1, $2, $3, $4)", registration, afters).await
    }

    async fn sessions(
        &mut self,
        function: &'static str,
        sql: &'static str,
        registration: Uuid,
        ids: &[SessionId],
    ) -> Result<(), StoreError> {
        let (peers, numbers) = unzip(ids);
        self.connection.call(function, sql, &[&registration, &peers, &numbers]).await
    }

    async fn ends(
        &mut self,
        function: &'static str,
        sql: &'static str,
        registration: Uuid,
        ends: &[(SessionId, Uuid)],
    ) -> Result<(), StoreError> {
        let (ids, others): (Vec<_>, Vec<_>) = ends.iter().copied().unzip();
        let (peers, numbers) = unzip(&ids);
        self.connection.call(function, sql, &[&registration, &peers, &numbers, &others]).await
    }
}

/// Most batches have no session with such a limit: then nothing is sent, and nothing is looked for.
fn limits(only: &[Option<Uuid>]) -> Option<&[Option<Uuid>]> {
    only.iter().any(Option::is_some).then_some(only)
}

fn unzip(ids: &[SessionId]) -> (Vec<Uuid>, Vec<i64>) {
    ids.iter().map(|id| (id.peer, id.number)).unzip()
}
