//! What a client may say of a connection. Each column of a connection only ever moves one way, so that events may come in
//! any order, split and repetition.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    error::Error,
    literal::{Inet, Time},
};

/// An event of a connection, or all that a batch says of one. `docs/protocol.md` has the fields.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectionEvent {
    pub id: Option<Uuid>,
    pub connection_id: Option<Uuid>,
    pub agent_id: Uuid,
    pub agent_name: Option<String>,
    pub workspace_id: Option<Uuid>,
    pub workspace_name: Option<String>,
    pub owner: Option<String>,
    pub r#type: Type,
    pub code: Option<i32>,
    pub ip: Option<Inet>,
    pub user_agent: Option<String>,
    pub user_id: Option<Uuid>,
    pub slug_or_port: Option<String>,
    pub connect_time: Option<Time>,
    pub disconnect_time: Option<Time>,
    pub disconnect_reason: Option<String>,
    /// `code` of an event that has a disconnect.
    #[serde(skip)]
    pub disconnect_code: Option<i32>,
    /// In the array, from 1.
    #[serde(skip)]
    pub place: i32,
}

/// How an agent is used. In the order of the names, as Postgres orders them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Type {
    Jetbrains,
    PortForwarding,
    ReconnectingPty,
    Ssh,
    Vscode,
    WorkspaceApp,
}

/// What is wrong with an event.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("has the character U+0000 in {0}, which Postgres cannot store")]
    Nul(&'static str),
    #[error("has neither connect_time nor disconnect_time")]
    NoTime,
    #[error("has an infinite time")]
    InfiniteTime,
    #[error("has disconnect_reason without disconnect_time")]
    ReasonAlone,
    #[error("is of agent {0}, which does not exist")]
    UnknownAgent(Uuid),
}

impl Type {
    /// As it is written.
    pub fn name(self) -> &'static str {
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

/// Reads a JSON array of events.
///
/// # Errors
/// When one is malformed; it is named by its place.
pub fn parse(text: &str) -> Result<Vec<ConnectionEvent>, Error> {
    let Array(mut events) = serde_json::from_str(text).map_err(Error::Events)?;
    for (event, place) in events.iter_mut().zip(1..) {
        event.place = place;
        event.check().map_err(|fault| Error::ConnectionEvent { place, fault })?;
    }
    Ok(events)
}

/// What is unique of a connection, hashed into one id. Absent and empty are the same.
pub fn key(connection: Uuid, workspace: Option<Uuid>, agent_name: Option<&str>) -> Uuid {
    let digest = Sha256::new()
        .chain_update(connection)
        .chain_update(workspace.unwrap_or_default())
        .chain_update(agent_name.unwrap_or_default())
        .finalize();
    Uuid::from_slice(&digest[..16]).expect("a uuid has 16 bytes")
}

/// One entry for each connection and agent, with its key, in the order of the keys.
pub fn merge(events: Vec<ConnectionEvent>) -> Vec<(Uuid, ConnectionEvent)> {
    // In boxes, because they are moved often and large.
    let mut events: Vec<_> = events.into_iter().map(|event| (event.key(), Box::new(event))).collect();
    events.sort_by_key(|(key, event)| (*key, event.agent_id));
    let mut merged: Vec<(Uuid, ConnectionEvent)> = Vec::with_capacity(events.len());
    for (key, event) in events {
        match merged.last_mut() {
            Some((last_key, last)) if *last_key == key && last.agent_id == event.agent_id => last.merge(*event),
            _ => merged.push((key, *event)),
        }
    }
    merged
}

impl ConnectionEvent {
    /// Refuses what no event can be, and gives what has two forms one.
    fn check(&mut self) -> Result<(), Fault> {
        for (field, text) in [
            ("agent_name", &self.agent_name),
            ("workspace_name", &self.workspace_name),
            ("owner", &self.owner),
            ("user_agent", &self.user_agent),
            ("slug_or_port", &self.slug_or_port),
            ("disconnect_reason", &self.disconnect_reason),
        ] {
            if text.as_ref().is_some_and(|text| text.contains('\0')) {
                return Err(Fault::Nul(field));
            }
        }
        if self.connect_time.is_none() && self.disconnect_time.is_none() {
            return Err(Fault::NoTime);
        }
        if [self.connect_time, self.disconnect_time].into_iter().flatten().any(Time::is_infinite) {
            return Err(Fault::InfiniteTime);
        }
        if self.disconnect_time.is_none() && self.disconnect_reason.is_some() {
            return Err(Fault::ReasonAlone);
        }
        if self.disconnect_time.is_some() {
            self.disconnect_code = self.code.take();
        }
        self.workspace_id = self.workspace_id.filter(|id| !id.is_nil());
        self.agent_name = self.agent_name.take().filter(|name| !name.is_empty());
        Ok(())
    }

    /// The key of its row.
    fn key(&self) -> Uuid {
        match self.connection_id {
            Some(connection) => key(connection, self.workspace_id, self.agent_name.as_deref()),
            None => self.id.unwrap_or_else(Uuid::new_v4),
        }
    }

    /// Merges another event of the same connection into it, as the UPDATE of the table does: the least of everything,
    /// and the disconnect that came first with what belongs to it.
    fn merge(&mut self, other: Self) {
        if self.end().is_none() || other.end().is_some_and(|end| Some(end) < self.end()) {
            self.disconnect_time = other.disconnect_time;
            self.disconnect_code = other.disconnect_code;
            self.disconnect_reason = other.disconnect_reason;
        }
        self.place = self.place.min(other.place);
        self.r#type = self.r#type.min(other.r#type);
        least(&mut self.workspace_id, other.workspace_id);
        least(&mut self.agent_name, other.agent_name);
        least(&mut self.workspace_name, other.workspace_name);
        least(&mut self.owner, other.owner);
        least(&mut self.code, other.code);
        least(&mut self.ip, other.ip);
        least(&mut self.user_agent, other.user_agent);
        least(&mut self.user_id, other.user_id);
        least(&mut self.slug_or_port, other.slug_or_port);
        least(&mut self.connect_time, other.connect_time);
    }

    /// What orders disconnects: of two at one time the smaller code and reason count, an absent one as the largest.
    fn end(&self) -> Option<impl Ord> {
        let (code, reason) = (self.disconnect_code, self.disconnect_reason.as_deref());
        self.disconnect_time.map(|time| (time, code.is_none(), code, reason.is_none(), reason))
    }
}

/// Keeps the lesser of what is there.
fn least<T: Ord>(own: &mut Option<T>, other: Option<T>) {
    if own.is_none() || other.is_some() && other < *own {
        *own = other;
    }
}

/// Events, read so that an error names the one that it is about.
struct Array(Vec<ConnectionEvent>);

impl<'de> Deserialize<'de> for Array {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements;
        impl<'de> Visitor<'de> for Elements {
            type Value = Array;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON array of objects")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Array, A::Error> {
                let mut events = Vec::new();
                loop {
                    match array.next_element() {
                        Ok(Some(Object(event))) => events.push(event),
                        Ok(None) => return Ok(Array(events)),
                        Err(error) => {
                            return Err(A::Error::custom(format_args!("event {}: {error}", events.len() + 1)));
                        }
                    }
                }
            }
        }
        deserializer.deserialize_seq(Elements)
    }
}

/// An event, from an object only: serde would take an array for a struct as well.
struct Object(ConnectionEvent);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Object, A::Error> {
                ConnectionEvent::deserialize(MapAccessDeserializer::new(fields)).map(Object)
            }
        }
        deserializer.deserialize_map(Fields)
    }
}
