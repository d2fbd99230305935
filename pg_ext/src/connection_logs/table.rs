//! Writes entries into the table. Read `write_any` first; `write_expected` is only a shortcut, and may be deleted.
//!
//! Each column only ever moves one way, so events may come in any order, split and repetition. A call needs neither the
//! lock of a network nor a registration.

use std::collections::{HashMap, HashSet};

use pgrx::{pg_sys::panic::ErrorReportWithLevel, prelude::*};
use uuid::Uuid;

use crate::{
    connection_logs::entry::{self, Entry},
    error::{Error, raise_error},
    pg::{
        named_relation::{Column, NamedRelation},
        statement::{rows, rows_from, run_from},
        subtransaction,
        uuids::{from_pg, to_pg, uuid_array},
    },
};

const NAMES: &str = "
    SELECT i.id, i.name FROM unnest($1) q(id) JOIN tailnet_private.identities i ON i.id = q.id AND i.role = 'agent'";

macro_rules! insert {
    ($rest:literal) => {
        concat!(
            "
    INSERT INTO tailnet_private.connection_logs (
        event_id, network_id, connection_id, agent_id, agent_name, workspace_id, workspace_name, owner, type, code, ip,
        user_agent, user_id, slug_or_port, connect_time, disconnect_time, disconnect_code, disconnect_reason)
    SELECT e.event_id, i.network_id, e.connection_id, e.agent_id, e.agent_name, e.workspace_id, e.workspace_name, e.owner,
           e.type, e.code, e.ip, e.user_agent, e.user_id, e.slug_or_port, e.connect_time, e.disconnect_time,
           e.disconnect_code, e.disconnect_reason
    FROM events e
    JOIN tailnet_private.identities i ON i.id = e.agent_id AND i.role = 'agent'",
            $rest
        )
    };
}

/// For connections that have no row yet. ON CONFLICT would search the index twice and write two WAL records a row.
const INSERT_NEW: &str = insert!("");

/// Inserts the connections that have no row yet, so that a plain UPDATE can write the others. ON CONFLICT DO UPDATE would
/// lock each row, and write a WAL record for the lock. Mostly only disconnects have a row already, so only they look first.
const INSERT: &str = insert!(
    "
    WHERE e.disconnect_time IS NULL
       OR (SELECT l.id FROM tailnet_private.connection_logs l WHERE l.id = e.key) IS NULL
    ON CONFLICT (id) DO NOTHING
    RETURNING id"
);

/// A connection belongs to the agent whose event made the row. Events of another agent with the same connection id change
/// nothing. An event without a connection id never changes a connection, even if its own id is the key of one. Texts are
/// ordered by their bytes, as in Rust.
const UPDATE: &str = r#"
    UPDATE tailnet_private.connection_logs l SET
        workspace_name = LEAST(l.workspace_name COLLATE "C", e.workspace_name), owner = LEAST(l.owner COLLATE "C", e.owner),
        type = LEAST(l.type COLLATE "C", e.type), code = LEAST(l.code, e.code), ip = LEAST(l.ip, e.ip),
        user_agent = LEAST(l.user_agent COLLATE "C", e.user_agent), user_id = LEAST(l.user_id, e.user_id),
        slug_or_port = LEAST(l.slug_or_port COLLATE "C", e.slug_or_port),
        connect_time = LEAST(l.connect_time, e.connect_time),
        disconnect_time = LEAST(l.disconnect_time, e.disconnect_time),
        -- If two disconnects have the same time, the smaller code and then the smaller reason stays. An absent one counts
        -- as the largest.
        disconnect_code = CASE
            WHEN e.disconnect_time < l.disconnect_time OR l.disconnect_time IS NULL THEN e.disconnect_code
            WHEN e.disconnect_time = l.disconnect_time THEN LEAST(l.disconnect_code, e.disconnect_code)
            ELSE l.disconnect_code END,
        disconnect_reason = CASE
            WHEN e.disconnect_time < l.disconnect_time OR l.disconnect_time IS NULL THEN e.disconnect_reason
            WHEN e.disconnect_time > l.disconnect_time OR e.disconnect_time IS NULL THEN l.disconnect_reason
            WHEN l.disconnect_code IS NOT DISTINCT FROM e.disconnect_code
                THEN LEAST(l.disconnect_reason COLLATE "C", e.disconnect_reason)
            WHEN l.disconnect_code < e.disconnect_code OR e.disconnect_code IS NULL THEN l.disconnect_reason
            ELSE e.disconnect_reason END
    FROM events e
    WHERE l.id = e.key AND l.agent_id IS NOT DISTINCT FROM e.agent_id AND l.connection_id = e.connection_id"#;

/// The first event of an agent that does not exist, if it has no row. The log outlives agents, so an event that has a row
/// may be of an agent that is gone.
const UNKNOWN: &str = "
    SELECT e.place, e.agent_id
    FROM events e
    WHERE (SELECT l.id FROM tailnet_private.connection_logs l
           WHERE l.id = e.key AND l.agent_id IS NOT DISTINCT FROM e.agent_id) IS NULL
      AND (SELECT i.id FROM tailnet_private.identities i WHERE i.id = e.agent_id AND i.role = 'agent') IS NULL
    ORDER BY e.place
    LIMIT 1";

/// The columns of `events` in the statements.
const COLUMNS: &[Column<(Uuid, Entry)>] = &[
    Column::int4(c"place", |(_, entry)| Some(entry.place)),
    Column::uuid(c"key", |(key, _)| Some(key)),
    Column::uuid(c"event_id", |(key, entry)| entry.event.connection_id.is_none().then_some(key)),
    Column::uuid(c"connection_id", |(_, entry)| entry.event.connection_id.as_ref()),
    Column::uuid(c"agent_id", |(_, entry)| Some(&entry.event.agent_id)),
    Column::text(c"agent_name", |(_, entry)| entry.event.agent_name.as_deref()),
    Column::uuid(c"workspace_id", |(_, entry)| entry.event.workspace_id.as_ref()),
    Column::text(c"workspace_name", |(_, entry)| entry.event.workspace_name.as_deref()),
    Column::text(c"owner", |(_, entry)| entry.event.owner.as_deref()),
    Column::text(c"type", |(_, entry)| Some(entry.event.r#type.as_str())),
    Column::int4(c"code", |(_, entry)| entry.event.code),
    Column::inet(c"ip", |(_, entry)| entry.event.ip),
    Column::text(c"user_agent", |(_, entry)| entry.event.user_agent.as_deref()),
    Column::uuid(c"user_id", |(_, entry)| entry.event.user_id.as_ref()),
    Column::text(c"slug_or_port", |(_, entry)| entry.event.slug_or_port.as_deref()),
    Column::timestamptz(c"connect_time", |(_, entry)| entry.event.connect_time.map(|time| time.0)),
    Column::timestamptz(c"disconnect_time", |(_, entry)| entry.event.disconnect_time.map(|time| time.0)),
    Column::int4(c"disconnect_code", |(_, entry)| entry.disconnect_code),
    Column::text(c"disconnect_reason", |(_, entry)| entry.event.disconnect_reason.as_deref()),
];

#[pg_extern]
fn upsert_connection_logs(events: Option<&str>) -> i32 {
    raise_error(|| {
        let text = events.ok_or(Error::NullArgument("events", "a JSON array of objects"))?;
        let mut entries = entry::parse(text)?;
        name_agents(&mut entries)?;
        let entries = entry::merge(entries);
        let written = match subtransaction::attempt(is_taken, || write_expected(&entries)) {
            Some(written) => written,
            None => write_any(entries)?,
        };
        Ok(i32::try_from(written).expect("an argument has less than a gigabyte"))
    })
}

/// Writes entries as they mostly come: a disconnect has a row already, any other entry has none. None: it is not so, and
/// the caller must undo what was written.
fn write_expected(entries: &[(Uuid, Entry)]) -> Option<usize> {
    let (ends, new): (Vec<_>, Vec<_>) = entries.iter().partition(|(_, entry)| entry.event.connect_time.is_none());
    let all = |sql, entries: Vec<_>| {
        entries.is_empty() || run_from(&relation(entries.iter().copied()), sql).is_ok_and(|n| n == entries.len())
    };
    (all(INSERT_NEW, new) && all(UPDATE, ends)).then_some(entries.len())
}

/// Whether a statement failed because a connection has a row already.
fn is_taken(error: &ErrorReportWithLevel) -> bool {
    error.sql_error_code() == PgSqlErrorCode::ERRCODE_UNIQUE_VIOLATION
        && error.message().contains("connection_logs_pkey")
}

/// Writes any entries: first those that have no row yet, then the others. It locks rows in the order of their keys, as
/// [`write_expected`] does.
fn write_any(mut entries: Vec<(Uuid, Entry)>) -> Result<usize, Error> {
    let mut given = relation(&entries);
    let inserted: HashSet<Uuid> = rows_from(&given, INSERT, &[], |row| row.id(1))?.into_iter().collect();
    if !inserted.is_empty() {
        entries.retain(|(key, _)| !inserted.contains(key));
        given = relation(&entries);
    }
    let updated = if entries.is_empty() { 0 } else { update(&given, entries.len())? };
    Ok(inserted.len() + updated)
}

/// Merges entries into their rows.
fn update(given: &NamedRelation<(Uuid, Entry)>, count: usize) -> Result<usize, Error> {
    let updated = run_from(given, UPDATE)?;
    if updated < count
        && let Some((place, agent)) = rows_from(given, UNKNOWN, &[], |row| Ok((row.get(1)?, row.id(2)?)))?.pop()
    {
        return Err(Error::UnknownAgent { place, agent });
    }
    Ok(updated)
}

/// Gives entries that have no name of their agent the name that the agent has now.
fn name_agents(entries: &mut [Entry]) -> Result<(), Error> {
    let nameless: HashSet<Uuid> =
        entries.iter().filter(|entry| entry.event.agent_name.is_none()).map(|entry| entry.event.agent_id).collect();
    if nameless.is_empty() {
        return Ok(());
    }
    let names = rows(NAMES, &[uuid_array(nameless).into()], |row| Ok((row.id(1)?, row.maybe(2)?)))?;
    let names: HashMap<Uuid, Option<String>> = names.into_iter().collect();
    for entry in entries.iter_mut().filter(|entry| entry.event.agent_name.is_none()) {
        let agent = entry.event.agent_id;
        let name = names.get(&agent).ok_or(Error::UnknownAgent { place: entry.place, agent })?;
        entry.event.agent_name.clone_from(name);
    }
    Ok(())
}

fn relation<'a>(entries: impl IntoIterator<Item = &'a (Uuid, Entry)>) -> NamedRelation<(Uuid, Entry)> {
    NamedRelation::new(c"events", COLUMNS, entries)
}

/// Makes the generated key of the table. `sql/connection_logs.sql` declares the function.
#[pg_extern(immutable, parallel_safe, sql = false)]
fn connection_key(connection: pgrx::Uuid, workspace: Option<pgrx::Uuid>, agent_name: Option<&str>) -> pgrx::Uuid {
    to_pg(entry::key(from_pg(connection), workspace.map(from_pg), agent_name))
}
