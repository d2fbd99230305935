//! What a coordinator does for those that are gone: it expires others that were silent too long, and removes peers that
//! stayed lost. Whoever beats does it, so there is no process of its own that could be missing.

use std::collections::HashSet;

use tailnet_wire::{Binding, Event, limits::EXPIRY};
use uuid::Uuid;

use crate::{
    array::{to_pg, uuid_array},
    error::Error,
    fanout::Fanout,
    session::disconnect,
    settings,
    statement::{Row, rows, run},
    turn,
};

/// Most lost peers that one beat removes: it holds their networks' locks.
const MAX_REMOVED: i64 = 500;

const SILENT: &str = "
    SELECT c.id FROM tailnet_private.coordinators c
    WHERE c.heartbeat_at < pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => $1)";

const STILL_SILENT: &str = "
    SELECT c.id FROM tailnet_private.coordinators c
    WHERE c.id = $1 AND c.heartbeat_at < pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => $2)";

/// For one coordinator a statement: joined with several, the planner reads the index as a whole for each of them.
const NETWORKS: &str = "
    SELECT DISTINCT p.network_id FROM tailnet_private.peers p WHERE p.coordinator_id = $1";

/// Bindings that were ok become lost; the node stays, for the peer may come back with the same.
const LOSE_ALL: &str = "
    UPDATE tailnet_private.peers p SET
        coordinator_id = NULL, status = CASE WHEN p.status = 'ok' THEN 'lost' ELSE p.status END,
        updated_at = now, lost_at = now
    FROM (SELECT o.id, o.status FROM tailnet_private.peers o WHERE o.coordinator_id = $1) old, pg_catalog.clock_timestamp() now
    WHERE p.id = old.id
    RETURNING p.id, p.role, old.status IS NOT DISTINCT FROM 'ok'";

/// A stopped proxy does not read: its backend would wait for it, and Postgres would keep every notification since.
const END_LISTENER: &str = "
    SELECT pg_catalog.pg_terminate_backend(a.pid)
    FROM tailnet_private.coordinators c
    JOIN pg_catalog.pg_stat_activity a ON a.pid = c.listener_pid AND a.backend_start = c.listener_started_at
    WHERE c.id = $1";

const FORGET: &str = "DELETE FROM tailnet_private.coordinators c WHERE c.id = $1";

const LOST: &str = "
    SELECT p.id FROM tailnet_private.peers p
    WHERE p.lost_at < (SELECT pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => $1))
    ORDER BY p.lost_at LIMIT $2";

const STILL_LOST: &str = "
    SELECT p.id FROM unnest($2) q(id) JOIN tailnet_private.peers p ON p.id = q.id
    WHERE p.lost_at < (SELECT pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => $1))";

/// Expires coordinators that were silent too long, each exactly once: who gets the lock does it. Returns their number.
pub fn expire_silent() -> Result<usize, Error> {
    let mut expired = Vec::new();
    for id in rows(SILENT, &[EXPIRY.as_secs_f64().into()], |row| row.id(1))? {
        // Calls in flight, or another that expires it: the next beat looks again.
        if turn::try_exclude_calls(id)?
            && !rows(STILL_SILENT, &[to_pg(id).into(), EXPIRY.as_secs_f64().into()], |row| row.id(1))?.is_empty()
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

/// Marks all peers of coordinators lost, tells their partners, and forgets the coordinators. The caller excludes their
/// calls, so their peers' networks are all that there are. Returns the number of peers.
pub fn end(coordinators: &[Uuid]) -> Result<usize, Error> {
    let mut networks = HashSet::new();
    for id in coordinators {
        networks.extend(rows(NETWORKS, &[to_pg(*id).into()], |row| row.id(1))?);
    }
    turn::lock_networks(networks);
    let mut peers = Vec::new();
    for id in coordinators {
        let lose = |row: &Row<'_>| Ok((row.id(1)?, turn::role(row, 2)?, row.get::<bool>(3)?));
        peers.extend(rows(LOSE_ALL, &[to_pg(*id).into()], lose)?);
        run(FORGET, &[to_pg(*id).into()])?;
    }
    let lost: Vec<_> = peers.iter().filter(|(.., bound)| *bound).map(|(id, role, _)| (*id, *role)).collect();
    let mut fanout = Fanout::default();
    fanout.tell_partners(&lost, |id| Event::Changed { id, binding: Binding::Lost })?;
    fanout.send()?;
    Ok(peers.len())
}

/// Ends the backend of a LISTEN connection.
pub fn end_listener(coordinator: Uuid) -> Result<(), Error> {
    run(END_LISTENER, &[to_pg(coordinator).into()]).map(drop)
}

/// Removes peers that stayed lost, with the tunnels that they opened. Must be the only thing of a transaction that
/// locks networks: their order is kept within one call only.
pub fn remove_lost() -> Result<(), Error> {
    let retention = settings::lost_peer_retention();
    let found = rows(LOST, &[retention.into(), MAX_REMOVED.into()], |row| row.id(1))?;
    if found.is_empty() {
        return Ok(());
    }
    let known = turn::take_as_operator(&found)?;
    let lost = rows(STILL_LOST, &[retention.into(), uuid_array(found).into()], |row| row.id(1))?;
    let mut fanout = Fanout::default();
    let lost: Vec<_> = lost.into_iter().filter_map(|id| Some((id, known.get(&id)?.role))).collect();
    disconnect(&mut fanout, &lost)?;
    fanout.send()
}
