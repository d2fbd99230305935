//! What is reported of the connections to an agent: who used it, how, and when. `docs/protocol.md` has the fields.
//!
//! The type is generic in its times and its address. The extension reads both with the input functions of Postgres, so
//! that they mean what they mean in SQL. The proxy keeps the text and leaves the judgement to the extension.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One event of a connection. Each column of a connection only ever moves one way, so events may come in any order, split
/// and repetition.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectionEvent<Time = String, Address = String> {
    /// What the reporter knows the event by. An event without a connection id is kept under it, so its repeat is no
    /// second row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Uuid>,
    /// What the events of one connection have in common.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_id: Option<Uuid>,
    /// The agent that was used.
    pub agent_id: Uuid,
    /// The name of the agent at that time; None: the one that it has when the event is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_name: Option<String>,
    /// The workspace that the agent served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace_id: Option<Uuid>,
    /// Its name at that time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace_name: Option<String>,
    /// Its owner at that time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// How the agent was used.
    pub r#type: ConnectionType,
    /// A code such as an HTTP status: of the disconnect, if there is one, else of the connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// Where the connection came from.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub ip: Option<Address>,
    /// The program of the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// The user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<Uuid>,
    /// The workspace app, or the port that was forwarded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slug_or_port: Option<String>,
    /// When it began.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub connect_time: Option<Time>,
    /// When it ended.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub disconnect_time: Option<Time>,
    /// Why it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disconnect_reason: Option<String>,
}

/// `Option::default` would ask for a default of what is in it.
fn none<T>() -> Option<T> {
    None
}

/// How an agent is used. In the order of the names, as Postgres orders them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionType {
    /// JetBrains Gateway.
    Jetbrains,
    /// A forwarded port.
    PortForwarding,
    /// A terminal in a browser.
    ReconnectingPty,
    /// SSH.
    Ssh,
    /// Visual Studio Code.
    Vscode,
    /// A web application.
    WorkspaceApp,
}

impl ConnectionType {
    /// The word for it in SQL and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Jetbrains => "jetbrains",
            Self::PortForwarding => "port_forwarding",
            Self::ReconnectingPty => "reconnecting_pty",
            Self::Ssh => "ssh",
            Self::Vscode => "vscode",
            Self::WorkspaceApp => "workspace_app",
        }
    }
}

/// What no event can be. Reads after the place of the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionEventError {
    /// Postgres cannot store it.
    #[error("has the character U+0000 in {0}, which Postgres cannot store")]
    Nul(&'static str),
    /// It says nothing that happened.
    #[error("has neither connect_time nor disconnect_time")]
    NoTime,
    /// A reason belongs to a disconnect.
    #[error("has disconnect_reason without disconnect_time")]
    ReasonAlone,
}

impl<Time, Address> ConnectionEvent<Time, Address> {
    /// Refuses what no event can be, as far as that does not depend on its times and its address.
    ///
    /// # Errors
    /// Names the first rule that the event breaks.
    pub fn check(&self) -> Result<(), ConnectionEventError> {
        for (field, text) in [
            ("agent_name", &self.agent_name),
            ("workspace_name", &self.workspace_name),
            ("owner", &self.owner),
            ("user_agent", &self.user_agent),
            ("slug_or_port", &self.slug_or_port),
            ("disconnect_reason", &self.disconnect_reason),
        ] {
            if text.as_ref().is_some_and(|text| text.contains('\0')) {
                return Err(ConnectionEventError::Nul(field));
            }
        }
        if self.connect_time.is_none() && self.disconnect_time.is_none() {
            return Err(ConnectionEventError::NoTime);
        }
        if self.disconnect_time.is_none() && self.disconnect_reason.is_some() {
            return Err(ConnectionEventError::ReasonAlone);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGENT: &str = r#""agent_id":"00000000-0000-0000-0000-000000000001""#;

    fn check(fields: &str) -> Option<ConnectionEventError> {
        let text = format!(r#"{{{AGENT},"type":"ssh"{fields}}}"#);
        serde_json::from_str::<ConnectionEvent>(&text).expect("an event").check().err()
    }

    #[test]
    fn an_event_is_written_as_it_was_read() {
        let text = format!(r#"{{{AGENT},"type":"workspace_app","ip":"::1","connect_time":"2026-01-01"}}"#);
        let event: ConnectionEvent = serde_json::from_str(&text).expect("an event");
        assert_eq!(serde_json::to_string(&event).expect("JSON"), text);
    }

    #[test]
    fn what_no_event_can_be_is_refused() {
        assert_eq!(check(r#","connect_time":"2026-01-01""#), None);
        assert_eq!(check(r#","disconnect_time":"2026-01-01","disconnect_reason":"x""#), None);
        assert_eq!(check(""), Some(ConnectionEventError::NoTime));
        assert_eq!(check(r#","connect_time":null"#), Some(ConnectionEventError::NoTime));
        let alone = r#","connect_time":"2026-01-01","disconnect_reason":"x""#;
        assert_eq!(check(alone), Some(ConnectionEventError::ReasonAlone));
        let nul = r#","connect_time":"2026-01-01","owner":"a\u0000b""#;
        assert_eq!(check(nul), Some(ConnectionEventError::Nul("owner")));
    }
}
