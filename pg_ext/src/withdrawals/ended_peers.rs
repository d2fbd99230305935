//! Peers that may not connect any more: their sessions end, their tunnels are closed, and they are removed.

use std::collections::{HashMap, HashSet};

use tailnet_wire::{Ending, Event};
use uuid::Uuid;

use crate::{
    error::Error,
    order::{fanout::Fanout, membership::Membership},
    peers::{session_end::remove, tunnel_events::tell_closed},
    pg::{
        statement::{rows, run},
        uuids::uuid_array,
    },
};

/// Those of the peers that may not connect.
const ENDED: &str = "
    SELECT i.id FROM unnest($1) q(id) JOIN tailnet_private.identities i ON i.id = q.id WHERE i.revoked_at IS NOT NULL";

const LIVE: &str = "
    SELECT p.id, p.session, p.coordinator_id
    FROM unnest($1) q(id)
    JOIN tailnet_private.peers p ON p.id = q.id
    WHERE p.coordinator_id IS NOT NULL";

/// At most so many tunnels to or from the peers.
const CLOSE: &str = "
    DELETE FROM tailnet_private.tunnels t
    USING (
        SELECT u.src, u.dst
        FROM unnest($1) q(id)
        CROSS JOIN LATERAL (
            (SELECT o.src, o.dst FROM tailnet_private.tunnels o WHERE o.src = q.id LIMIT $2)
            UNION ALL
            (SELECT i.src, i.dst FROM tailnet_private.tunnels i WHERE i.dst = q.id LIMIT $2)
        ) u
        LIMIT $2
    ) k
    WHERE t.src = k.src AND t.dst = k.dst
    RETURNING t.src, t.dst";

/// Those of the peers that still have a tunnel.
const WITH_TUNNELS: &str = "
    SELECT q.id
    FROM unnest($1) q(id)
    WHERE (SELECT o.dst FROM tailnet_private.tunnels o WHERE o.src = q.id LIMIT 1) IS NOT NULL
       OR (SELECT i.src FROM tailnet_private.tunnels i WHERE i.dst = q.id LIMIT 1) IS NOT NULL";

/// The session has ended, and the peer waits for its last tunnels to be closed.
const LOSE: &str = "
    UPDATE tailnet_private.peers p SET
        coordinator_id = NULL, status = CASE WHEN p.status = 'ok' THEN 'lost' ELSE p.status END,
        updated_at = now, lost_at = now
    FROM unnest($1) q(id), pg_catalog.clock_timestamp() now
    WHERE p.id = q.id AND p.coordinator_id IS NOT NULL
    RETURNING p.id";

/// Ends the sessions of those of the peers that may not connect, closes at most so many of their tunnels, and removes the
/// peers that have no tunnel left. Returns the peers that wait for the next call. The caller holds the locks of their
/// networks.
pub fn end(
    fanout: &mut Fanout,
    peers: &[Uuid],
    memberships: &HashMap<Uuid, Membership>,
    most: i64,
) -> Result<HashSet<Uuid>, Error> {
    let ended = rows(ENDED, &[uuid_array(peers.iter().copied()).into()], |row| row.id(1))?;
    if ended.is_empty() {
        return Ok(HashSet::new());
    }
    let ids = || uuid_array(ended.iter().copied());
    for (id, session, coordinator) in rows(LIVE, &[ids().into()], |row| Ok((row.id(1)?, row.get(2)?, row.id(3)?)))? {
        fanout.tell(coordinator, &Event::Ended { id, session, why: Ending::Revoked });
    }
    let closed = rows(CLOSE, &[ids().into(), most.into()], |row| Ok((row.id(1)?, row.id(2)?)))?;
    tell_closed(fanout, &closed)?;
    let waiting: HashSet<Uuid> = rows(WITH_TUNNELS, &[ids().into()], |row| row.id(1))?.into_iter().collect();
    if !waiting.is_empty() {
        run(LOSE, &[uuid_array(waiting.iter().copied()).into()])?;
    }
    let gone: Vec<_> = ended.iter().filter(|id| !waiting.contains(id)).map(|id| (*id, memberships[id].role)).collect();
    remove(fanout, &gone)?;
    Ok(waiting)
}
