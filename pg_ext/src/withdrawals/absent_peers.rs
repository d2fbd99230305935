//! Peers that came with a key, and stayed away for longer than their time to live, are forgotten.

use crate::{
    error::Error,
    order::{fanout::Fanout, turn::take_as_operator},
    peers::session_end::remove,
    pg::{statement::rows, uuids::uuid_array},
};

const ABSENT: &str = "
    SELECT p.id FROM tailnet_private.peers p
    WHERE p.forget_at <= (SELECT pg_catalog.clock_timestamp())
    ORDER BY p.forget_at LIMIT $1";

/// A peer that has come back meanwhile is not to be forgotten.
const STILL_ABSENT: &str = "
    SELECT p.id FROM unnest($1) q(id) JOIN tailnet_private.peers p ON p.id = q.id
    WHERE p.forget_at <= (SELECT pg_catalog.clock_timestamp())";

/// Forgets at most so many, and returns how many it found. Nothing else in the transaction may lock networks.
pub fn forget(most: i64) -> Result<usize, Error> {
    let found = rows(ABSENT, &[most.into()], |row| row.id(1))?;
    if found.is_empty() {
        return Ok(0);
    }
    let memberships = take_as_operator(&found)?;
    let absent = rows(STILL_ABSENT, &[uuid_array(found.iter().copied()).into()], |row| row.id(1))?;
    let mut fanout = Fanout::default();
    let absent: Vec<_> = absent.into_iter().filter_map(|id| Some((id, memberships.get(&id)?.role))).collect();
    remove(&mut fanout, &absent)?;
    fanout.send()?;
    Ok(found.len())
}
