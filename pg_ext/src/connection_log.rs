//! The log of connections to agents. Rows only ever move one way, so events may come in any order, split and repetition,
//! and neither a network's lock nor a registration is needed.

use std::collections::{HashMap, HashSet};

use pgrx::{
    pg_sys::{self, panic::ErrorReportWithLevel},
    prelude::*,
};
use uuid::Uuid;

use crate::{
    array::{from_pg, to_pg, uuid_array},
    connection_event::{self, Entry},
    error::{Error, raise_error},
    literal::Time,
    relation::{Column, Relation, Value},
    statement::{rows, rows_from, run_from},
    subtransaction,
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

/// Connections that have no row. ON CONFLICT would search the index twice and log each row twice.
const INSERT_NEW: &str = insert!("");

/// Rows of new connections among others, so that the rest is a plain UPDATE: ON CONFLICT DO UPDATE locks each row, and a
/// lock is a WAL record of its own. Only a disconnect is likely to find its row, so only that looks first.
const INSERT: &str = insert!(
    "
    WHERE e.disconnect_time IS NULL
       OR (SELECT l.id FROM tailnet_private.connection_logs l WHERE l.id = e.key) IS NULL
    ON CONFLICT (id) DO NOTHING
    RETURNING id"
);

/// The agent of a connection is who began it: another one's events under its id change nothing. Nor does an event without
/// connection id become a connection, whatever its id is. Texts are ordered by their bytes, as in Rust.
const UPDATE: &str = r#"
    UPDATE tailnet_private.connection_logs l SET
        workspace_name = LEAST(l.workspace_name COLLATE "C", e.workspace_name), owner = LEAST(l.owner COLLATE "C", e.owner),
        type = LEAST(l.type COLLATE "C", e.type), code = LEAST(l.code, e.code), ip = LEAST(l.ip, e.ip),
        user_agent = LEAST(l.user_agent COLLATE "C", e.user_agent), user_id = LEAST(l.user_id, e.user_id),
        slug_or_port = LEAST(l.slug_or_port COLLATE "C", e.slug_or_port),
        connect_time = LEAST(l.connect_time, e.connect_time),
        disconnect_time = LEAST(l.disconnect_time, e.disconnect_time),
        -- Of two disconnects at one time the smaller code and reason stay; an absent one counts as the largest.
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

/// The first event that could not be written: one for the row of another agent is ignored, and so is the agent of a row
/// that is there, because the log outlives it.
const UNKNOWN: &str = "
    SELECT e.place, e.agent_id
    FROM events e
    WHERE (SELECT l.id FROM tailnet_private.connection_logs l
           WHERE l.id = e.key AND l.agent_id IS NOT DISTINCT FROM e.agent_id) IS NULL
      AND (SELECT i.id FROM tailnet_private.identities i WHERE i.id = e.agent_id AND i.role = 'agent') IS NULL
    ORDER BY e.place
    LIMIT 1";

/// Of `events` in the statements.
const COLUMNS: [Column; 19] = [
    (c"place", pg_sys::INT4OID),
    (c"key", pg_sys::UUIDOID),
    (c"event_id", pg_sys::UUIDOID),
    (c"connection_id", pg_sys::UUIDOID),
    (c"agent_id", pg_sys::UUIDOID),
    (c"agent_name", pg_sys::TEXTOID),
    (c"workspace_id", pg_sys::UUIDOID),
    (c"workspace_name", pg_sys::TEXTOID),
    (c"owner", pg_sys::TEXTOID),
    (c"type", pg_sys::TEXTOID),
    (c"code", pg_sys::INT4OID),
    (c"ip", pg_sys::INETOID),
    (c"user_agent", pg_sys::TEXTOID),
    (c"user_id", pg_sys::UUIDOID),
    (c"slug_or_port", pg_sys::TEXTOID),
    (c"connect_time", pg_sys::TIMESTAMPTZOID),
    (c"disconnect_time", pg_sys::TIMESTAMPTZOID),
    (c"disconnect_code", pg_sys::INT4OID),
    (c"disconnect_reason", pg_sys::TEXTOID),
];

#[pg_extern]
fn upsert_connection_logs(events: Option<&str>) -> i32 {
    raise_error(|| {
        let text = events.ok_or(Error::NullArgument("events", "a JSON array of objects"))?;
        let mut events = connection_event::parse(text)?;
        name_agents(&mut events)?;
        let events = connection_event::merge(events);
        let written = match subtransaction::attempt(is_taken, || write_expected(&events)) {
            Some(written) => written,
            None => write_any(events)?,
        };
        Ok(i32::try_from(written).expect("an argument has less than a gigabyte"))
    })
}

/// Writes events as they mostly come: the row of a disconnect is there, that of any other event is not. None: they are
/// not so, and what was done is to be undone.
fn write_expected(events: &[(Uuid, Entry)]) -> Option<usize> {
    let is_end = |entry: &Entry| entry.event.connect_time.is_none();
    let (ends, new): (Vec<_>, Vec<_>) = events.iter().partition(|(_, entry)| is_end(entry));
    let all = |sql, events: Vec<_>| {
        events.is_empty() || run_from(&relation(events.iter().copied()), sql).is_ok_and(|n| n == events.len())
    };
    (all(INSERT_NEW, new) && all(UPDATE, ends)).then_some(events.len())
}

/// Whether a statement failed because a connection has its row already.
fn is_taken(error: &ErrorReportWithLevel) -> bool {
    error.sql_error_code() == PgSqlErrorCode::ERRCODE_UNIQUE_VIOLATION
        && error.message().contains("connection_logs_pkey")
}

/// Writes any events, in the same order of locks.
fn write_any(mut events: Vec<(Uuid, Entry)>) -> Result<usize, Error> {
    let mut given = relation(&events);
    let inserted: HashSet<Uuid> = rows_from(&given, INSERT, &[], |row| row.id(1))?.into_iter().collect();
    if !inserted.is_empty() {
        events.retain(|(key, _)| !inserted.contains(key));
        given = relation(&events);
    }
    let updated = if events.is_empty() { 0 } else { update(&given, events.len())? };
    Ok(inserted.len() + updated)
}

/// Merges events into rows that are there.
fn update(events: &Relation<19>, count: usize) -> Result<usize, Error> {
    let updated = run_from(events, UPDATE)?;
    if updated < count
        && let Some((place, agent)) = rows_from(events, UNKNOWN, &[], |row| Ok((row.get(1)?, row.id(2)?)))?.pop()
    {
        return Err(Error::UnknownAgent { place, agent });
    }
    Ok(updated)
}

/// Gives events without a name of their agent the one that it has now.
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

fn relation<'a>(entries: impl IntoIterator<Item = &'a (Uuid, Entry)>) -> Relation<19> {
    let mut relation = Relation::new(c"events", &COLUMNS);
    for (key, entry) in entries {
        let id = |id: &'a Option<Uuid>| id.as_ref().map_or(Value::Absent, Value::Id);
        let text = |text: &'a Option<String>| text.as_deref().map_or(Value::Absent, Value::Text);
        let number = |number: Option<i32>| number.map_or(Value::Absent, |number| Value::Datum(number.into()));
        let time = |time: Option<Time>| time.map_or(Value::Absent, |time| Value::Datum(time.datum()));
        let event = &entry.event;
        relation.push([
            number(Some(entry.place)),
            Value::Id(key),
            if event.connection_id.is_none() { Value::Id(key) } else { Value::Absent },
            id(&event.connection_id),
            Value::Id(&event.agent_id),
            text(&event.agent_name),
            id(&event.workspace_id),
            text(&event.workspace_name),
            text(&event.owner),
            Value::Text(event.r#type.as_str()),
            number(event.code),
            event.ip.map_or(Value::Absent, |ip| Value::Datum(ip.datum())),
            text(&event.user_agent),
            id(&event.user_id),
            text(&event.slug_or_port),
            time(event.connect_time),
            time(event.disconnect_time),
            number(entry.disconnect_code),
            text(&event.disconnect_reason),
        ]);
    }
    relation
}

/// What the generated key of the table is made of; `sql/connection_logs.sql` declares it.
#[pg_extern(immutable, parallel_safe, sql = false)]
fn connection_key(connection: pgrx::Uuid, workspace: Option<pgrx::Uuid>, agent_name: Option<&str>) -> pgrx::Uuid {
    to_pg(connection_event::key(from_pg(connection), workspace.map(from_pg), agent_name))
}
