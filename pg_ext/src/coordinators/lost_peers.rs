//! Peers with an identity that stay lost are removed after some time. Those that came with a key are forgotten by
//! [`crate::withdrawals::reap`].

use crate::{
    error::Error,
    order::{fanout::Fanout, turn::take_as_operator},
    peers::session_end::remove,
    pg::{statement::rows, uuids::uuid_array},
    settings,
};

/// How many lost peers one heartbeat removes at most. It holds the locks of their networks meanwhile.
const MAX_REMOVED: i64 = 500;

const LOST: &str = "
    SELECT p.id FROM tailnet_private.peers p
    WHERE p.lost_at < (SELECT pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => $1)) AND p.key_id IS NULL
    ORDER BY p.lost_at LIMIT $2";

const STILL_LOST: &str = "
    SELECT p.id FROM unnest($2) q(id) JOIN tailnet_private.peers p ON p.id = q.id
    WHERE p.lost_at < (SELECT pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => $1))";

/// Removes peers that stayed lost, with the tunnels that they opened. Nothing else in the transaction may lock networks:
/// only the locks of one call are taken in order.
pub fn remove_lost() -> Result<(), Error> {
    let retention = settings::lost_peer_retention();
    let found = rows(LOST, &[retention.into(), MAX_REMOVED.into()], |row| row.id(1))?;
    if found.is_empty() {
        return Ok(());
    }
    let memberships = take_as_operator(&found)?;
    let lost = rows(STILL_LOST, &[retention.into(), uuid_array(found).into()], |row| row.id(1))?;
    let mut fanout = Fanout::default();
    let lost: Vec<_> = lost.into_iter().filter_map(|id| Some((id, memberships.get(&id)?.role))).collect();
    remove(&mut fanout, &lost)?;
    fanout.send()
}
