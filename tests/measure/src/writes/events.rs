//! Events of connections: what agents report for the connection log.

use std::{
    fmt::Display,
    time::{Duration, SystemTime},
};

use humantime::format_rfc3339_micros;
use serde::{Serialize, Serializer};
use tailnet_wire::{ConnectionEvent, ConnectionType};
use uuid::Uuid;

/// A connect, or a disconnect.
pub type Event = ConnectionEvent<Time, &'static str>;

/// In JSON as RFC 3339.
#[derive(Debug, Clone, Copy)]
pub struct Time(pub SystemTime);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_rfc3339_micros(self.0))
    }
}

/// New connections of these agents, one each, and afterwards the end of each.
pub fn connections(agents: &[Uuid]) -> Vec<Event> {
    let now = SystemTime::now();
    let connects: Vec<_> = agents.iter().map(|agent| (*agent, [(); 3].map(|()| Uuid::new_v4()))).collect();
    let event = |gone: bool, place: usize| {
        let (agent, [connection, workspace, user]) = connects[place];
        let time = Time(now + Duration::from_millis(place as u64) + Duration::from_secs(if gone { 3_600 } else { 0 }));
        Event {
            id: None,
            connection_id: Some(connection),
            agent_id: agent,
            agent_name: Some("main".to_owned()),
            workspace_id: Some(workspace),
            workspace_name: Some("my-workspace".to_owned()),
            owner: Some("some.developer".to_owned()),
            r#type: ConnectionType::Ssh,
            code: gone.then_some(0),
            ip: Some("203.0.113.77"),
            user_agent: Some("OpenSSH_9.6p1 Ubuntu-3ubuntu13.5".to_owned()),
            user_id: Some(user),
            slug_or_port: None,
            connect_time: (!gone).then_some(time),
            disconnect_time: gone.then_some(time),
            disconnect_reason: gone.then(|| "the client closed the connection".to_owned()),
        }
    };
    [false, true]
        .into_iter()
        .flat_map(|gone| (0..connects.len()).map(move |place| (gone, place)))
        .map(|(gone, place)| event(gone, place))
        .collect()
}

/// What events are staged in.
pub const STAGED: &str = "
    connection_id uuid, agent_id uuid, agent_name text, workspace_id uuid, workspace_name text, owner text, type text,
    code integer, ip inet, user_agent text, user_id uuid, connect_time timestamptz, disconnect_time timestamptz,
    disconnect_reason text";

/// Lines for COPY into a table with the columns of [`STAGED`].
pub fn as_lines(events: &[Event]) -> String {
    fn shown(value: Option<impl Display>) -> String {
        value.map_or_else(|| "\\N".to_owned(), |value| value.to_string())
    }
    let time = |time: Option<Time>| shown(time.map(|time| format_rfc3339_micros(time.0)));
    let line = |event: &Event| {
        let columns = [
            shown(event.connection_id),
            event.agent_id.to_string(),
            shown(event.agent_name.as_ref()),
            shown(event.workspace_id),
            shown(event.workspace_name.as_ref()),
            shown(event.owner.as_ref()),
            "ssh".to_owned(),
            shown(event.code),
            shown(event.ip),
            shown(event.user_agent.as_ref()),
            shown(event.user_id),
            time(event.connect_time),
            time(event.disconnect_time),
            shown(event.disconnect_reason.as_ref()),
        ];
        columns.join("\t") + "\n"
    };
    events.iter().map(line).collect()
}
