//! What a batch says of connections: events read from JSON, checked, and merged to one entry for each connection.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, SeqAccess, Visitor},
};
use sha2::{Digest, Sha256};
use tailnet_wire::{ConnectionEvent, Object};
use uuid::Uuid;

use crate::{
    error::Error,
    literal::{Inet, Time},
};

/// An event of a connection, or all that a batch says of one.
#[derive(Debug)]
pub struct Entry {
    /// Without what has two forms: `workspace_id` is never nil, `agent_name` never empty, `code` never of a disconnect.
    pub event: ConnectionEvent<Time, Inet>,
    /// The `code` of an event that has a disconnect.
    pub disconnect_code: Option<i32>,
    /// Where the event, or the first of them, stands in the array; counted from 1.
    pub place: i32,
}

/// Reads a JSON array of events.
///
/// # Errors
/// When one is malformed; it is named by its place.
pub fn parse(text: &str) -> Result<Vec<Entry>, Error> {
    let Array(events) = serde_json::from_str(text).map_err(Error::Events)?;
    events.into_iter().zip(1..).map(|(event, place)| Entry::new(event, place)).collect()
}

/// What makes a connection unique, hashed into one id. An absent value and an empty one are the same.
pub fn key(connection: Uuid, workspace: Option<Uuid>, agent_name: Option<&str>) -> Uuid {
    let digest = Sha256::new()
        .chain_update(connection)
        .chain_update(workspace.unwrap_or_default())
        .chain_update(agent_name.unwrap_or_default())
        .finalize();
    Uuid::from_slice(&digest[..16]).expect("a uuid has 16 bytes")
}

/// One entry for each connection and agent, with its key, in the order of the keys.
pub fn merge(entries: Vec<Entry>) -> Vec<(Uuid, Entry)> {
    // Sorting moves entries often, and they are large: hence the boxes.
    let mut entries: Vec<_> = entries.into_iter().map(|entry| (entry.key(), Box::new(entry))).collect();
    entries.sort_by_key(|(key, entry)| (*key, entry.event.agent_id));
    let mut merged: Vec<(Uuid, Entry)> = Vec::with_capacity(entries.len());
    for (key, entry) in entries {
        match merged.last_mut() {
            Some((last_key, last)) if *last_key == key && last.event.agent_id == entry.event.agent_id => {
                last.merge(*entry);
            }
            _ => merged.push((key, *entry)),
        }
    }
    merged
}

impl Entry {
    /// Refuses what no event can be, and gives one form to what has two.
    fn new(mut event: ConnectionEvent<Time, Inet>, place: i32) -> Result<Self, Error> {
        event.check().map_err(|error| Error::ConnectionEvent { place, error })?;
        if [event.connect_time, event.disconnect_time].into_iter().flatten().any(Time::is_infinite) {
            return Err(Error::InfiniteTime { place });
        }
        let disconnect_code = if event.disconnect_time.is_some() { event.code.take() } else { None };
        event.workspace_id = event.workspace_id.filter(|id| !id.is_nil());
        event.agent_name = event.agent_name.filter(|name| !name.is_empty());
        Ok(Self { event, disconnect_code, place })
    }

    /// The key of its row.
    fn key(&self) -> Uuid {
        match self.event.connection_id {
            Some(connection) => key(connection, self.event.workspace_id, self.event.agent_name.as_deref()),
            None => self.event.id.unwrap_or_else(Uuid::new_v4),
        }
    }

    /// Merges another entry of the same connection into it, as the UPDATE of the table does: the least of everything, and
    /// the first disconnect with what belongs to it.
    fn merge(&mut self, other: Self) {
        let ends_first = other.end().is_some_and(|end| self.end().is_none_or(|own| end < own));
        let (own, other, disconnect_code, place) = (&mut self.event, other.event, other.disconnect_code, other.place);
        if ends_first {
            own.disconnect_time = other.disconnect_time;
            self.disconnect_code = disconnect_code;
            own.disconnect_reason = other.disconnect_reason;
        }
        self.place = self.place.min(place);
        own.r#type = own.r#type.min(other.r#type);
        least(&mut own.workspace_id, other.workspace_id);
        least(&mut own.agent_name, other.agent_name);
        least(&mut own.workspace_name, other.workspace_name);
        least(&mut own.owner, other.owner);
        least(&mut own.code, other.code);
        least(&mut own.ip, other.ip);
        least(&mut own.user_agent, other.user_agent);
        least(&mut own.user_id, other.user_id);
        least(&mut own.slug_or_port, other.slug_or_port);
        least(&mut own.connect_time, other.connect_time);
    }

    /// The order of disconnects. At the same time the smaller code and then the smaller reason comes first; an absent one
    /// counts as the largest.
    fn end(&self) -> Option<impl Ord> {
        let (code, reason) = (self.disconnect_code, self.event.disconnect_reason.as_deref());
        self.event.disconnect_time.map(|time| (time, code.is_none(), code, reason.is_none(), reason))
    }
}

/// Keeps the lesser of two values; an absent one does not count.
fn least<T: Ord>(own: &mut Option<T>, other: Option<T>) {
    if own.is_none() || other.is_some() && other < *own {
        *own = other;
    }
}

/// Events, read so that an error names the event.
struct Array(Vec<ConnectionEvent<Time, Inet>>);

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
