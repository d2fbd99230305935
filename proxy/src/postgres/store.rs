//! The SQL functions of the extension. Only this file names them.
//!
//! A function that takes a batch takes arrays of equal length, with one element for each entry.

use std::sync::Arc;

use tailnet_wire::{ConnectionEvent, SessionId, limits::PROTOCOL};
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use crate::{
    batch::request::{
        Admitted, AgentInfo, AgentState, Authentication, Proof,
        agent_state::{Lifecycle, Startup},
    },
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

/// How many seconds ago an agent was seen; None: it was not.
#[derive(Debug, Clone, Copy)]
pub struct Ages {
    /// Since its connect.
    pub connected: Option<f64>,
    /// Since it was last heard.
    pub heard: Option<f64>,
    /// Since its disconnect.
    pub gone: Option<f64>,
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
                resume: column(&row, function, 6)?,
            });
        }
        Ok(authenticated)
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

    /// Opens sessions.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn attach_peers(
        &mut self,
        registration: Uuid,
        ids: &[SessionId],
        proofs: &[&str],
    ) -> Result<(), StoreError> {
        self.proved_sessions("attach_peers", "SELECT tailnet.attach_peers($1, $2, $3, $4)", registration, ids, proofs)
            .await
    }

    /// Opens sessions again, with their nodes and the tunnels that they opened.
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
    ) -> Result<(), StoreError> {
        let (peers, numbers) = unzip(ids);
        let (srcs, dsts): (Vec<_>, Vec<_>) = tunnels.iter().copied().unzip();
        let sql = "SELECT tailnet.restore_peers($1, $2, $3, $4, $5, $6, $7)";
        let params: [Param<'_>; 7] = [&registration, &peers, &numbers, &proofs, &nodes, &srcs, &dsts];
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
        self.proved_sessions(
            "disconnect_peers",
            "SELECT tailnet.disconnect_peers($1, $2, $3, $4)",
            registration,
            ids,
            proofs,
        )
        .await
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

    /// Writes when agents were connected. The database subtracts the ages from its own clock, so no time of this machine
    /// reaches a table.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn update_agent_connections(
        &mut self,
        coordinator: Uuid,
        agents: &[Uuid],
        ages: &[Ages],
    ) -> Result<(), StoreError> {
        const SQL: &str = "
            SELECT count(*) FROM tailnet.update_agent_connections(
                $1::uuid[],
                ARRAY(SELECT now() - make_interval(secs => a) FROM unnest($2::float8[]) WITH ORDINALITY u(a, o) ORDER BY o),
                ARRAY(SELECT now() - make_interval(secs => a) FROM unnest($3::float8[]) WITH ORDINALITY u(a, o) ORDER BY o),
                ARRAY(SELECT now() - make_interval(secs => a) FROM unnest($4::float8[]) WITH ORDINALITY u(a, o) ORDER BY o),
                array_fill($5::uuid, ARRAY[cardinality($1::uuid[])]))";
        let column = |part: fn(&Ages) -> Option<f64>| ages.iter().map(part).collect::<Vec<_>>();
        let (connected, heard, gone) = (column(|a| a.connected), column(|a| a.heard), column(|a| a.gone));
        self.connection.call("update_agent_connections", SQL, &[&agents, &connected, &heard, &gone, &coordinator]).await
    }

    /// Writes what agents told of themselves.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn update_agent_states(&mut self, states: &[(Uuid, AgentState)]) -> Result<(), StoreError> {
        let sql = "SELECT tailnet.update_agent_states($1, $2, $3, $4, $5::text[]::timestamptz[])";
        let agents: Vec<Uuid> = states.iter().map(|(agent, _)| *agent).collect();
        let startup = |part: fn(&Startup) -> &str| -> Vec<Option<&str>> {
            states.iter().map(|(_, state)| state.startup.as_ref().map(part)).collect()
        };
        let lifecycle = |part: fn(&Lifecycle) -> &str| -> Vec<Option<&str>> {
            states.iter().map(|(_, state)| state.lifecycle.as_ref().map(part)).collect()
        };
        let (versions, directories) = (startup(|startup| &startup.version), startup(|startup| &startup.directory));
        let (words, times) = (lifecycle(|lifecycle| lifecycle.state), lifecycle(|lifecycle| &lifecycle.since));
        self.connection.call("update_agent_states", sql, &[&agents, &versions, &directories, &words, &times]).await
    }

    /// What agents are told of themselves. Ids that are not those of agents are left out.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn agent_info(&mut self, agents: &[Uuid]) -> Result<Vec<(Uuid, AgentInfo)>, StoreError> {
        let function = "agent_info_of";
        let sql = "SELECT agent_id, name, owner, workspace, workspace_id, directory, environment \
                   FROM tailnet.agent_info_of($1)";
        let rows = self.connection.rows(function, sql, &[&agents]).await?;
        let read = |row: &Row| {
            let environment: String = column(row, function, 6)?;
            let info = AgentInfo {
                name: column(row, function, 1)?,
                owner: column(row, function, 2)?,
                workspace: column(row, function, 3)?,
                workspace_id: column(row, function, 4)?,
                directory: column(row, function, 5)?,
                // The extension takes objects of texts only.
                environment: serde_json::from_str(&environment).unwrap_or_default(),
            };
            Ok((column(row, function, 0)?, info))
        };
        rows.iter().map(read).collect()
    }

    /// Writes events of connections. Returns the number of rows written: events of one connection are one row.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn upsert_connection_logs(&mut self, events: &[&ConnectionEvent]) -> Result<u64, StoreError> {
        // As text: the extension parses it anyway, and for the type json Postgres would parse it before.
        let events = serde_json::to_string(events).expect("JSON values have a text");
        let rows: i32 = self
            .connection
            .get("upsert_connection_logs", "SELECT tailnet.upsert_connection_logs($1::text)", &[&events])
            .await?;
        Ok(u64::try_from(rows).unwrap_or_default())
    }

    async fn proved_sessions(
        &mut self,
        function: &'static str,
        sql: &'static str,
        registration: Uuid,
        ids: &[SessionId],
        proofs: &[&str],
    ) -> Result<(), StoreError> {
        let (peers, numbers) = unzip(ids);
        self.connection.call(function, sql, &[&registration, &peers, &numbers, &proofs]).await
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

fn unzip(ids: &[SessionId]) -> (Vec<Uuid>, Vec<i64>) {
    ids.iter().map(|id| (id.peer, id.number)).unzip()
}
