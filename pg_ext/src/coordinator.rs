//! Coordinators: running proxies, alive while they heartbeat.

use pgrx::prelude::*;
use tailnet_wire::{
    Event,
    limits::{EXPIRY, LATE},
};
use uuid::Uuid;

use crate::{
    array::{from_pg, to_pg},
    error::{Error, raise_error},
    fanout::Fanout,
    notify::Channel,
    reaper,
    statement::{rows, run},
    turn,
};

const REGISTER: &str = "
    INSERT INTO tailnet_private.coordinators AS c (id, name, registration, registered_at, heartbeat_at, on_time_since)
    SELECT $1, $2, pg_catalog.gen_random_uuid(), now, now, now FROM pg_catalog.clock_timestamp() now
    ON CONFLICT (id) DO UPDATE SET
        name = EXCLUDED.name, registration = EXCLUDED.registration, registered_at = EXCLUDED.registered_at,
        heartbeat_at = EXCLUDED.heartbeat_at, on_time_since = EXCLUDED.on_time_since,
        restored = false, settled = false, listener_pid = NULL, listener_started_at = NULL
    RETURNING c.registration";

const LISTEN: &str = "
    UPDATE tailnet_private.coordinators c SET listener_pid = a.pid, listener_started_at = a.backend_start
    FROM pg_catalog.pg_stat_activity a
    WHERE c.id = $1 AND a.pid = pg_catalog.pg_backend_pid()";

/// A late beat starts the span of beats on time anew.
const BEAT: &str = "
    UPDATE tailnet_private.coordinators c SET
        on_time_since = CASE WHEN now > c.heartbeat_at + pg_catalog.make_interval(secs => $2) THEN now
                             ELSE c.on_time_since END,
        heartbeat_at = now, restored = c.restored OR $4
    FROM pg_catalog.clock_timestamp() now
    WHERE c.id = $1
    RETURNING c.on_time_since <= now - pg_catalog.make_interval(secs => $3)";

/// Once after a crash had emptied the tables. Only who was on time may say so: to one who was deaf it means nothing that
/// others are silent, or not back.
const END_RESTORATION: &str = "
    INSERT INTO tailnet_private.restoration (ended_at)
    SELECT pg_catalog.clock_timestamp()
    WHERE NOT EXISTS (SELECT FROM tailnet_private.restoration)
      AND NOT EXISTS (SELECT FROM tailnet_private.coordinators c WHERE NOT c.restored)
    ON CONFLICT DO NOTHING";

/// A later registration finds the tables whole, and need not wait.
const SETTLE: &str = "
    UPDATE tailnet_private.coordinators c SET settled = true
    WHERE c.id = $1 AND NOT c.settled AND EXISTS (SELECT FROM tailnet_private.restoration)";

#[pg_extern]
fn register_coordinator(id: Option<pgrx::Uuid>, name: Option<String>) -> pgrx::Uuid {
    raise_error(|| {
        let id = id.ok_or(Error::NullArgument("id", "the uuid of a coordinator"))?;
        let name = name.ok_or(Error::NullArgument("name", "the name of a proxy"))?;
        turn::exclude_calls(from_pg(id))?;
        reaper::end_listener(from_pg(id))?;
        let registered = rows(REGISTER, &[id.into(), name.into()], |row| row.get(1))?;
        Ok(registered.into_iter().next().expect("an upsert without a condition returns its row"))
    })
}

#[pg_extern]
fn listen_coordinator(registration: Option<pgrx::Uuid>) {
    raise_error(|| {
        let id = turn::admit(registration)?;
        run(LISTEN, &[to_pg(id).into()])?;
        Channel::of(from_pg(registration.ok_or(Error::NotRegistered)?)).listen();
        Ok(())
    })
}

#[pg_extern]
fn heartbeat_coordinator(registration: Option<pgrx::Uuid>, restored: Option<bool>) -> i32 {
    raise_error(|| {
        let id = turn::admit(registration)?;
        let restored = restored.unwrap_or(false);
        let args = [to_pg(id).into(), LATE.as_secs_f64().into(), EXPIRY.as_secs_f64().into(), restored.into()];
        let on_time: Vec<bool> = rows(BEAT, &args, |row| row.get(1))?;
        let mut expired = 0;
        // Silence means nothing to one who was deaf: after a stall of the database everybody looks silent.
        if on_time == [true] {
            expired = reaper::expire_silent()?;
            run(END_RESTORATION, &[])?;
            if expired == 0 {
                reaper::remove_lost()?;
            }
        }
        settle(id)?;
        Ok(i32::try_from(expired).expect("fewer coordinators than i32::MAX"))
    })
}

#[pg_extern]
fn close_coordinator(registration: Option<pgrx::Uuid>) -> i32 {
    raise_error(|| {
        let registration = from_pg(registration.ok_or(Error::NotRegistered)?);
        let id = turn::registered(registration)?;
        turn::exclude_calls(id)?;
        if turn::registered(registration)? != id {
            return Err(Error::NotRegistered);
        }
        let peers = reaper::end(&[id])?;
        Ok(i32::try_from(peers).expect("fewer peers than i32::MAX on a coordinator"))
    })
}

/// Tells a coordinator, once a registration, that what is absent from the tables is absent.
fn settle(id: Uuid) -> Result<(), Error> {
    if run(SETTLE, &[to_pg(id).into()])? == 0 {
        return Ok(());
    }
    let mut fanout = Fanout::default();
    fanout.tell(id, &Event::Settled);
    fanout.send()
}
