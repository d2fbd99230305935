//! A coordinator registers, listens to its log, and closes.

use pgrx::prelude::*;
use tailnet_wire::limits::{OLDEST_PROTOCOL, PROTOCOL};

use crate::{
    coordinators::end::{end, end_listener},
    error::{Error, raise_error},
    order::registration::{admit, coordinator_of, exclude_calls},
    pg::{
        notify::Channel,
        statement::{rows, run},
        uuids::{from_pg, to_pg},
    },
};

const REGISTER: &str = "
    INSERT INTO tailnet_private.coordinators AS c (
        id, name, registration, registered_at, heartbeat_at, on_time_since, protocol)
    SELECT $1, $2, pg_catalog.gen_random_uuid(), now, now, now, $3 FROM pg_catalog.clock_timestamp() now
    ON CONFLICT (id) DO UPDATE SET
        name = EXCLUDED.name, registration = EXCLUDED.registration, registered_at = EXCLUDED.registered_at,
        heartbeat_at = EXCLUDED.heartbeat_at, on_time_since = EXCLUDED.on_time_since, protocol = EXCLUDED.protocol,
        restored = false, settled = false, listener_pid = NULL, listener_started_at = NULL
    RETURNING c.registration";

/// The first secret, and another one when the newest is a month old.
const ROTATE_SECRET: &str = "
    SELECT tailnet.rotate_secret()
    WHERE NOT EXISTS (
        SELECT FROM tailnet_private.secrets s
        WHERE s.created_at > pg_catalog.clock_timestamp() - '30 days'::pg_catalog.interval)";

const LISTEN: &str = "
    UPDATE tailnet_private.coordinators c SET listener_pid = a.pid, listener_started_at = a.backend_start
    FROM pg_catalog.pg_stat_activity a
    WHERE c.id = $1 AND a.pid = pg_catalog.pg_backend_pid()";

#[pg_extern]
fn register_coordinator(id: Option<pgrx::Uuid>, name: Option<String>, protocol: Option<i32>) -> pgrx::Uuid {
    raise_error(|| {
        let id = id.ok_or(Error::NullArgument("id", "the uuid of a coordinator"))?;
        let name = name.ok_or(Error::NullArgument("name", "the name of a proxy"))?;
        let protocol = protocol.ok_or(Error::NullArgument("protocol", "the version that the proxy speaks"))?;
        if !(OLDEST_PROTOCOL..=PROTOCOL).contains(&protocol) {
            return Err(Error::Protocol(protocol));
        }
        exclude_calls(from_pg(id))?;
        end_listener(from_pg(id))?;
        run(ROTATE_SECRET, &[])?;
        let registered = rows(REGISTER, &[id.into(), name.into(), protocol.into()], |row| row.get(1))?;
        Ok(registered.into_iter().next().expect("an upsert without a condition returns its row"))
    })
}

#[pg_extern]
fn listen_coordinator(registration: Option<pgrx::Uuid>) {
    raise_error(|| {
        let id = admit(registration)?;
        run(LISTEN, &[to_pg(id).into()])?;
        Channel::of(from_pg(registration.ok_or(Error::NotRegistered)?)).listen();
        Ok(())
    })
}

#[pg_extern]
fn close_coordinator(registration: Option<pgrx::Uuid>) -> i32 {
    raise_error(|| {
        let registration = from_pg(registration.ok_or(Error::NotRegistered)?);
        let id = coordinator_of(registration)?;
        exclude_calls(id)?;
        // The registration may have ended while this call waited.
        if coordinator_of(registration)? != id {
            return Err(Error::NotRegistered);
        }
        let peers = end(&[id])?;
        Ok(i32::try_from(peers).expect("fewer peers than i32::MAX on a coordinator"))
    })
}
