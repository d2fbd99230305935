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
        uuids::{to_pg, uuid_array},
    },
};

/// Those of the peers that may not connect, and whether they have expired. A superuser may have deleted the identity since.
const ENDED: &str = "
    SELECT q.id, coalesce(i.revoked_at = i.expires_at, false)
    FROM unnest($1) q(id)
    LEFT JOIN tailnet_private.identities i ON i.id = q.id
    WHERE i.id IS NULL OR i.revoked_at IS NOT NULL";

/// The peers of a key, or those that are connected with one of its tokens. One that is away may come back with another token.
const OF_KEY: &str = "
    SELECT p.id FROM tailnet_private.peers p
    WHERE p.key_id = $1 AND ($2 IS NULL OR p.token_number = $2 AND p.coordinator_id IS NOT NULL)
    LIMIT $3";

const EXPIRED: &str = "
    SELECT coalesce(k.ended_at = k.expires_at, false) FROM tailnet_private.keys k WHERE k.id = $1 AND k.ended_at IS NOT NULL";

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

/// The session has ended, and the peer waits for its last tunnels to be closed. A peer of a key keeps the token with which it
/// came, so that it is found again.
const LOSE: &str = "
    UPDATE tailnet_private.peers p SET
        coordinator_id = NULL, status = CASE WHEN p.status = 'ok' THEN 'lost' ELSE p.status END,
        updated_at = now, lost_at = now, forget_at = now + p.time_to_live
    FROM unnest($1) q(id), pg_catalog.clock_timestamp() now
    WHERE p.id = q.id AND p.coordinator_id IS NOT NULL
    RETURNING p.id";

/// Those of the peers that may not connect, and what their sessions are told.
pub fn among(peers: &[Uuid]) -> Result<HashMap<Uuid, Ending>, Error> {
    let ended = rows(ENDED, &[uuid_array(peers.iter().copied()).into()], |row| Ok((row.id(1)?, why(row.get(2)?))))?;
    Ok(ended.into_iter().collect())
}

/// At most so many peers of a key that has ended, or of a token of it that is no longer good (None: of any), and what their
/// sessions are told. The caller holds the lock of the network.
pub fn of_key(key: Uuid, token: Option<i32>, most: i64) -> Result<HashMap<Uuid, Ending>, Error> {
    let expired: Vec<bool> = rows(EXPIRED, &[to_pg(key).into()], |row| row.get(1))?;
    let ending = why(token.is_none() && expired == [true]);
    let peers = rows(OF_KEY, &[to_pg(key).into(), token.into(), most.into()], |row| row.id(1))?;
    Ok(peers.into_iter().map(|peer| (peer, ending)).collect())
}

fn why(expired: bool) -> Ending {
    if expired { Ending::Expired } else { Ending::Revoked }
}

/// Ends the sessions of peers, closes at most so many of their tunnels, and removes the peers that have no tunnel left. Returns
/// the peers that wait for the next call. The caller holds the locks of their networks.
pub fn end(
    fanout: &mut Fanout,
    ended: &HashMap<Uuid, Ending>,
    memberships: &HashMap<Uuid, Membership>,
    most: i64,
) -> Result<HashSet<Uuid>, Error> {
    if ended.is_empty() {
        return Ok(HashSet::new());
    }
    let ids = || uuid_array(ended.keys().copied());
    for (id, session, coordinator) in rows(LIVE, &[ids().into()], |row| Ok((row.id(1)?, row.get(2)?, row.id(3)?)))? {
        fanout.tell(coordinator, &Event::Ended { id, session, why: ended[&id] });
    }
    let closed = rows(CLOSE, &[ids().into(), most.into()], |row| Ok((row.id(1)?, row.id(2)?)))?;
    tell_closed(fanout, &closed)?;
    let waiting: HashSet<Uuid> = rows(WITH_TUNNELS, &[ids().into()], |row| row.id(1))?.into_iter().collect();
    if !waiting.is_empty() {
        run(LOSE, &[uuid_array(waiting.iter().copied()).into()])?;
    }
    // A peer without a membership has no row either.
    let gone = ended.keys().filter(|id| !waiting.contains(id));
    let gone: Vec<_> = gone.filter_map(|id| Some((*id, memberships.get(id)?.role))).collect();
    remove(fanout, &gone)?;
    Ok(waiting)
}
