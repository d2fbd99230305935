//! Heartbeats of coordinators. There is no process that watches them: whichever coordinator sends a heartbeat also cleans
//! up after those that are gone.

use pgrx::prelude::*;
use tailnet_wire::{
    Event,
    limits::{EXPIRY, LATE},
};
use uuid::Uuid;

use crate::{
    coordinators::{expiry::expire_silent, lost_peers::remove_lost},
    error::{Error, raise_error},
    order::{fanout::Fanout, registration::admit},
    pg::{
        statement::{rows, run},
        uuids::to_pg,
    },
};

/// Returns whether all heartbeats of this coordinator were on time for at least the time of an expiry. A late heartbeat
/// starts that time anew.
const HEARTBEAT: &str = "
    UPDATE tailnet_private.coordinators c SET
        on_time_since = CASE WHEN now > c.heartbeat_at + pg_catalog.make_interval(secs => $2) THEN now
                             ELSE c.on_time_since END,
        heartbeat_at = now, restored = c.restored OR $4
    FROM pg_catalog.clock_timestamp() now
    WHERE c.id = $1
    RETURNING c.on_time_since <= now - pg_catalog.make_interval(secs => $3)";

/// Notes, once after a crash had emptied the tables, that all coordinators have restored their sessions.
const END_RESTORATION: &str = "
    INSERT INTO tailnet_private.restoration (ended_at)
    SELECT pg_catalog.clock_timestamp()
    WHERE NOT EXISTS (SELECT FROM tailnet_private.restoration)
      AND NOT EXISTS (SELECT FROM tailnet_private.coordinators c WHERE NOT c.restored)
    ON CONFLICT DO NOTHING";

/// A registration that is made after the restoration has ended is told at once.
const SETTLE: &str = "
    UPDATE tailnet_private.coordinators c SET settled = true
    WHERE c.id = $1 AND NOT c.settled AND EXISTS (SELECT FROM tailnet_private.restoration)";

#[pg_extern]
fn heartbeat_coordinator(registration: Option<pgrx::Uuid>, restored: Option<bool>) -> i32 {
    raise_error(|| {
        let id = admit(registration)?;
        let restored = restored.unwrap_or(false);
        let parameters = [to_pg(id).into(), LATE.as_secs_f64().into(), EXPIRY.as_secs_f64().into(), restored.into()];
        let on_time: Vec<bool> = rows(HEARTBEAT, &parameters, |row| row.get(1))?;
        let mut expired = 0;
        // Only a coordinator whose own heartbeats were on time may judge the others. After a stall of the database all
        // coordinators look silent, and one that was stalled itself cannot tell whether it was the others or it.
        if on_time == [true] {
            expired = expire_silent()?;
            run(END_RESTORATION, &[])?;
            if expired == 0 {
                remove_lost()?;
            }
        }
        settle(id)?;
        Ok(i32::try_from(expired).expect("fewer coordinators than i32::MAX"))
    })
}

/// Tells a coordinator, once a registration, that from now on a partner that is missing from the tables is absent.
fn settle(id: Uuid) -> Result<(), Error> {
    if run(SETTLE, &[to_pg(id).into()])? == 0 {
        return Ok(());
    }
    let mut fanout = Fanout::default();
    fanout.tell(id, &Event::Settled);
    fanout.send()
}
