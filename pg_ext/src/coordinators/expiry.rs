//! Expiry: a coordinator that sent no heartbeat for too long is ended.

use tailnet_wire::limits::EXPIRY;

use crate::{
    coordinators::end::{end, end_listener},
    error::Error,
    order::registration::try_exclude_calls,
    pg::{statement::rows, uuids::to_pg},
};

const SILENT: &str = "
    SELECT c.id FROM tailnet_private.coordinators c
    WHERE c.heartbeat_at < pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => $1)";

const STILL_SILENT: &str = "
    SELECT c.id FROM tailnet_private.coordinators c
    WHERE c.id = $1 AND c.heartbeat_at < pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => $2)";

/// Ends the coordinators that were silent for too long, and returns their number. The lock makes sure that each is ended
/// once.
pub fn expire_silent() -> Result<usize, Error> {
    let mut expired = Vec::new();
    let limit = EXPIRY.as_secs_f64();
    for id in rows(SILENT, &[limit.into()], |row| row.id(1))? {
        // This gives up when calls of the coordinator are in flight, or when another coordinator expires it. The next
        // heartbeat tries again.
        if try_exclude_calls(id)? && !rows(STILL_SILENT, &[to_pg(id).into(), limit.into()], |row| row.id(1))?.is_empty()
        {
            expired.push(id);
        }
    }
    for id in &expired {
        end_listener(*id)?;
    }
    end(&expired)?;
    Ok(expired.len())
}
