//! Events of connections: what agents report for the connection log.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use humantime::{Rfc3339Timestamp, format_rfc3339_micros};
use serde::Serialize;
use uuid::Uuid;

/// A connect or a disconnect.
#[derive(Debug, Clone)]
pub struct Event {
    /// The same for both events of a connection.
    pub connection: Uuid,
    pub agent: Uuid,
    /// What it served.
    pub workspace: Uuid,
    /// Who connected.
    pub user: Uuid,
    pub time: SystemTime,
    /// Whether it is the disconnect.
    pub gone: bool,
}

/// Name of every workspace.
pub const WORKSPACE_NAME: &str = "my-workspace";
/// Name of every owner.
pub const OWNER: &str = "some.developer";
/// Where everybody comes from.
pub const IP: &str = "203.0.113.77";
/// What everybody connects with.
pub const USER_AGENT: &str = "OpenSSH_9.6p1 Ubuntu-3ubuntu13.5";
/// Why everybody leaves.
pub const REASON: &str = "the client closed the connection";

/// New connections of these agents, one each, and afterwards the end of each.
pub fn connections(agents: &[Uuid]) -> Vec<Event> {
    let now = SystemTime::now();
    let event = |place: usize, gone: bool| Event {
        connection: Uuid::nil(),
        agent: agents[place],
        workspace: Uuid::new_v4(),
        user: Uuid::new_v4(),
        time: now + Duration::from_millis(place as u64) + Duration::from_secs(if gone { 3_600 } else { 0 }),
        gone,
    };
    let connects: Vec<_> =
        (0..agents.len()).map(|place| Event { connection: Uuid::new_v4(), ..event(place, false) }).collect();
    let ends = connects.iter().enumerate().map(|(place, connect)| Event {
        connection: connect.connection,
        workspace: connect.workspace,
        user: connect.user,
        ..event(place, true)
    });
    connects.iter().cloned().chain(ends).collect()
}

impl Event {
    /// The time of the connect; None: this is the disconnect.
    pub fn connected(&self) -> Option<SystemTime> {
        (!self.gone).then_some(self.time)
    }

    /// The time of the disconnect; None: this is the connect.
    pub fn disconnected(&self) -> Option<SystemTime> {
        self.gone.then_some(self.time)
    }

    /// Code and reason of the disconnect.
    pub fn end(&self) -> (Option<i32>, Option<&'static str>) {
        if self.gone { (Some(0), Some(REASON)) } else { (None, None) }
    }
}

/// An element of the argument of `tailnet.upsert_connection_logs`.
#[derive(Debug, Serialize)]
struct Element<'a> {
    connection_id: Uuid,
    agent_id: Uuid,
    agent_name: &'a str,
    workspace_id: Uuid,
    workspace_name: &'a str,
    owner: &'a str,
    r#type: &'a str,
    ip: &'a str,
    user_agent: &'a str,
    user_id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disconnect_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disconnect_reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<i32>,
}

/// The argument of `tailnet.upsert_connection_logs`.
pub fn as_json(events: &[Event]) -> Result<String> {
    let shown = |time: Option<SystemTime>| time.map(|time| format_rfc3339_micros(time).to_string());
    let one = |event: &Event| {
        let (code, reason) = event.end();
        Element {
            connection_id: event.connection,
            agent_id: event.agent,
            agent_name: "main",
            workspace_id: event.workspace,
            workspace_name: WORKSPACE_NAME,
            owner: OWNER,
            r#type: "ssh",
            ip: IP,
            user_agent: USER_AGENT,
            user_id: event.user,
            connect_time: shown(event.connected()),
            disconnect_time: shown(event.disconnected()),
            disconnect_reason: reason,
            code,
        }
    };
    Ok(serde_json::to_string(&events.iter().map(one).collect::<Vec<_>>())?)
}

/// What events are staged in.
pub const STAGED: &str = "
    connection_id uuid, agent_id uuid, agent_name text, workspace_id uuid, workspace_name text, owner text, type text,
    code integer, ip inet, user_agent text, user_id uuid, connect_time timestamptz, disconnect_time timestamptz,
    disconnect_reason text";

/// Lines for COPY into a table with the columns of [`STAGED`].
pub fn as_lines(events: &[Event]) -> String {
    let null = || "\\N".to_owned();
    let shown = |time: Option<SystemTime>| {
        time.map(format_rfc3339_micros).map_or_else(null, |t: Rfc3339Timestamp| t.to_string())
    };
    let one = |event: &Event| {
        let Event { connection, agent, workspace, user, .. } = event;
        let (code, reason) = event.end();
        format!(
            "{connection}\t{agent}\tmain\t{workspace}\t{WORKSPACE_NAME}\t{OWNER}\tssh\t{}\t{IP}\t{USER_AGENT}\t{user}\t{}\t{}\t{}\n",
            code.map_or_else(null, |code| code.to_string()),
            shown(event.connected()),
            shown(event.disconnected()),
            reason.map_or_else(null, str::to_owned),
        )
    };
    events.iter().map(one).collect()
}
