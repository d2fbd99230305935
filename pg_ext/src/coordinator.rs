//! Coordinators: running proxies, alive while they heartbeat.

use std::collections::HashSet;

use pgrx::prelude::*;
use tailnet_wire::{Binding, Event};
use uuid::Uuid;

use crate::{
    array::{from_pg, to_pg},
    error::{Error, raise_error},
    fanout::Fanout,
    statement::{rows, run},
    turn,
};

/// How often a proxy beats, in seconds. The proxy keeps this time, see its `coordinator` module.
const HEARTBEAT_S: f64 = 2.0;

/// A beat that comes later than this after the one before was late.
const LATE_S: f64 = 2.0 * HEARTBEAT_S;

/// A coordinator that was silent for three beats is expired.
const EXPIRY_S: f64 = 3.0 * HEARTBEAT_S;

const REGISTER: &str = "
    INSERT INTO tailnet_private.coordinators AS c (id, name, registration, registered_at, heartbeat_at, on_time_since)
    SELECT $1, $2, pg_catalog.gen_random_uuid(), now, now, now FROM pg_catalog.clock_timestamp() now
    ON CONFLICT (id) DO UPDATE SET
        name = EXCLUDED.name, registration = EXCLUDED.registration, registered_at = EXCLUDED.registered_at,
        heartbeat_at = EXCLUDED.heartbeat_at, on_time_since = EXCLUDED.on_time_since
    RETURNING c.registration";

/// A late beat starts the span of beats on time anew.
const BEAT: &str = "
    UPDATE tailnet_private.coordinators c SET
        on_time_since = CASE WHEN now > c.heartbeat_at + pg_catalog.make_interval(secs => $2) THEN now
                             ELSE c.on_time_since END,
        heartbeat_at = now
    FROM pg_catalog.clock_timestamp() now
    WHERE c.id = $1
    RETURNING c.on_time_since <= now - pg_catalog.make_interval(secs => $3)";

const SILENT: &str = "
    SELECT c.id FROM tailnet_private.coordinators c
    WHERE c.heartbeat_at < pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => $1)";

const STILL_SILENT: &str = "
    SELECT c.id FROM tailnet_private.coordinators c
    WHERE c.id = $1 AND c.heartbeat_at < pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => $2)";

const NETWORKS: &str = "
    SELECT DISTINCT i.network_id
    FROM tailnet_private.peers p
    JOIN tailnet_private.identities i ON i.id = p.id
    WHERE p.coordinator_id = $1";

/// Bindings that were ok become lost; the node stays, for the peer may come back with the same.
const LOSE_ALL: &str = "
    UPDATE tailnet_private.peers p SET
        coordinator_id = NULL, status = CASE WHEN p.status = 'ok' THEN 'lost' ELSE p.status END,
        updated_at = pg_catalog.clock_timestamp()
    FROM (SELECT o.id, o.status FROM tailnet_private.peers o WHERE o.coordinator_id = $1) old
    WHERE p.id = old.id
    RETURNING p.id, old.status IS NOT DISTINCT FROM 'ok'";

const FORGET: &str = "DELETE FROM tailnet_private.coordinators c WHERE c.id = $1";

#[pg_extern]
fn register_coordinator(id: Option<pgrx::Uuid>, name: Option<String>) -> pgrx::Uuid {
    raise_error(|| {
        let id = id.ok_or(Error::NullArgument("id", "the uuid of a coordinator"))?;
        let name = name.ok_or(Error::NullArgument("name", "the name of a proxy"))?;
        turn::exclude_calls(from_pg(id))?;
        let registered = rows(REGISTER, &[id.into(), name.into()], |row| row.get(1))?;
        Ok(registered.into_iter().next().expect("an upsert without a condition returns its row"))
    })
}

#[pg_extern]
fn heartbeat_coordinator(registration: Option<pgrx::Uuid>) -> i32 {
    raise_error(|| {
        let id = turn::admit(registration)?;
        let on_time: Vec<bool> = rows(BEAT, &[to_pg(id).into(), LATE_S.into(), EXPIRY_S.into()], |row| row.get(1))?;
        // Silence means nothing to one who was deaf: after a stall of the database everybody looks silent.
        if on_time == [true] { expire_silent() } else { Ok(0) }
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
        let peers = end(id)?;
        Ok(i32::try_from(peers).expect("fewer peers than i32::MAX on a coordinator"))
    })
}

/// Expires coordinators that were silent too long, each exactly once: who gets the lock does it.
fn expire_silent() -> Result<i32, Error> {
    let mut expired = 0;
    for id in rows(SILENT, &[EXPIRY_S.into()], |row| row.id(1))? {
        // Calls in flight, or another that expires it: the next beat looks again.
        if !turn::try_exclude_calls(id)? {
            continue;
        }
        if rows(STILL_SILENT, &[to_pg(id).into(), EXPIRY_S.into()], |row| row.id(1))?.is_empty() {
            continue;
        }
        end(id)?;
        expired += 1;
    }
    Ok(expired)
}

/// Marks all peers of a coordinator lost, tells their partners, and forgets it. The caller excludes its calls, so its
/// peers' networks are all that there are. Returns the number of peers.
fn end(id: Uuid) -> Result<usize, Error> {
    let networks: HashSet<Uuid> = rows(NETWORKS, &[to_pg(id).into()], |row| row.id(1))?.into_iter().collect();
    turn::lock_networks(networks)?;
    let peers = rows(LOSE_ALL, &[to_pg(id).into()], |row| Ok((row.id(1)?, row.get::<bool>(2)?)))?;
    run(FORGET, &[to_pg(id).into()])?;
    let lost: Vec<Uuid> = peers.iter().filter(|(_, bound)| *bound).map(|(id, _)| *id).collect();
    let mut fanout = Fanout::default();
    fanout.tell_partners(&lost, |place| Event::Changed { id: lost[place], binding: Binding::Lost })?;
    fanout.send()?;
    Ok(peers.len())
}
