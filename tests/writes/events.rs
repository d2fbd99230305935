//! Events of connections: what agents report for the connection log.

use std::time::{Duration, SystemTime};

use humantime::{Rfc3339Timestamp, format_rfc3339_micros};
use serde_json::json;
use uuid::Uuid;

use crate::world::Agent;

/// A connect or a disconnect.
#[derive(Debug, Clone)]
pub struct Event {
    /// The same for both events of a connection.
    pub connection: Uuid,
    /// The agent.
    pub agent: Uuid,
    /// What it served.
    pub workspace: Uuid,
    /// Who connected.
    pub user: Uuid,
    /// When.
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
pub fn connections(agents: &[Agent]) -> Vec<Event> {
    let now = SystemTime::now();
    let event = |place: usize, gone: bool| Event {
        connection: Uuid::nil(),
        agent: agents[place].id,
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

/// The argument of `tailnet.upsert_connection_logs`.
pub fn as_json(events: &[Event]) -> String {
    let one = |event: &Event| {
        let mut value = json!({
            "connection_id": event.connection, "agent_id": event.agent, "agent_name": "main",
            "workspace_id": event.workspace, "workspace_name": WORKSPACE_NAME, "owner": OWNER, "type": "ssh", "ip": IP,
            "user_agent": USER_AGENT, "user_id": event.user,
        });
        let time = format_rfc3339_micros(event.time).to_string();
        if event.gone {
            value["disconnect_time"] = json!(time);
            value["disconnect_reason"] = json!(REASON);
            value["code"] = json!(0);
        } else {
            value["connect_time"] = json!(time);
        }
        value
    };
    serde_json::Value::Array(events.iter().map(one).collect()).to_string()
}

/// Lines for COPY into a table with the columns of `tailnet_private.connection_event`.
pub fn as_lines(events: &[Event]) -> String {
    let null = || "\\N".to_owned();
    let shown = |time: Option<SystemTime>| {
        time.map(format_rfc3339_micros).map_or_else(null, |t: Rfc3339Timestamp| t.to_string())
    };
    let one = |event: &Event| {
        let Event { connection, agent, workspace, user, .. } = event;
        let (code, reason) = event.end();
        format!(
            "\\N\t{connection}\t{agent}\tmain\t{workspace}\t{WORKSPACE_NAME}\t{OWNER}\tssh\t{}\t{IP}\t{USER_AGENT}\t{user}\t\\N\t{}\t{}\t{}\n",
            code.map_or_else(null, |code| code.to_string()),
            shown(event.connected()),
            shown(event.disconnected()),
            reason.map_or_else(null, str::to_owned),
        )
    };
    events.iter().map(one).collect()
}
