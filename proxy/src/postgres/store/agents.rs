//! The SQL functions about agents.

use tailnet_wire::ConnectionEvent;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{
    batch::request::{
        AgentInfo, AgentState,
        agent_state::{Lifecycle, Startup},
    },
    postgres::{connection::column, store::Store, store_error::StoreError},
};

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

impl Store {
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
}
