//! The end of a coordinator, whether it closes or is expired: all its peers are lost.

use std::collections::HashSet;

use tailnet_wire::{Binding, Event};
use uuid::Uuid;

use crate::{
    error::Error,
    order::{fanout::Fanout, locks::lock_networks, membership::role_from_row},
    pg::{
        statement::{Row, rows, run},
        uuids::to_pg,
    },
};

/// A statement for each coordinator. If one statement joined several, the planner would read the whole index for each.
const NETWORKS: &str = "
    SELECT DISTINCT p.network_id FROM tailnet_private.peers p WHERE p.coordinator_id = $1";

/// Bindings that were ok become lost. The node stays, because the peer may come back with the same node.
const LOSE_ALL: &str = "
    UPDATE tailnet_private.peers p SET
        coordinator_id = NULL, status = CASE WHEN p.status = 'ok' THEN 'lost' ELSE p.status END,
        updated_at = now, lost_at = now, forget_at = now + p.time_to_live
    FROM (SELECT o.id, o.status FROM tailnet_private.peers o WHERE o.coordinator_id = $1) old, pg_catalog.clock_timestamp() now
    WHERE p.id = old.id
    RETURNING p.id, p.role, old.status IS NOT DISTINCT FROM 'ok'";

/// A stopped proxy does not read. Its backend would wait for it, and Postgres would keep all notifications since then.
const END_LISTENER: &str = "
    SELECT pg_catalog.pg_terminate_backend(a.pid)
    FROM tailnet_private.coordinators c
    JOIN pg_catalog.pg_stat_activity a ON a.pid = c.listener_pid AND a.backend_start = c.listener_started_at
    WHERE c.id = $1";

const DELETE: &str = "DELETE FROM tailnet_private.coordinators c WHERE c.id = $1";

/// Marks all peers of coordinators lost, tells their partners, and deletes the coordinators. Returns the number of peers.
/// The caller excludes the calls of these coordinators, so no peer can be added meanwhile.
pub fn end(coordinators: &[Uuid]) -> Result<usize, Error> {
    let mut networks = HashSet::new();
    for id in coordinators {
        networks.extend(rows(NETWORKS, &[to_pg(*id).into()], |row| row.id(1))?);
    }
    lock_networks(networks);
    let mut peers = Vec::new();
    for id in coordinators {
        let lose = |row: &Row<'_>| Ok((row.id(1)?, role_from_row(row, 2)?, row.get::<bool>(3)?));
        peers.extend(rows(LOSE_ALL, &[to_pg(*id).into()], lose)?);
        run(DELETE, &[to_pg(*id).into()])?;
    }
    let lost: Vec<_> = peers.iter().filter(|(.., bound)| *bound).map(|(id, role, _)| (*id, *role)).collect();
    let mut fanout = Fanout::default();
    fanout.tell_partners(&lost, |id| Event::Changed { id, binding: Binding::Lost })?;
    fanout.send()?;
    Ok(peers.len())
}

/// Ends the backend of a coordinator's LISTEN connection.
pub fn end_listener(coordinator: Uuid) -> Result<(), Error> {
    run(END_LISTENER, &[to_pg(coordinator).into()]).map(drop)
}
