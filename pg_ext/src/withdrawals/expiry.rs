//! Expiry: what was good until some time is withdrawn when that time has come.
//!
//! Calls that attach sessions and open tunnels look at the clock themselves. This ends what is live.

use crate::{
    error::Error,
    pg::statement::{rows, run},
    withdrawals::pending::{Withdrawal, note},
};

const IDENTITIES: &str = "
    UPDATE tailnet_private.identities i SET revoked_at = i.expires_at
    FROM (
        SELECT o.id FROM tailnet_private.identities o
        WHERE o.revoked_at IS NULL AND o.expires_at <= (SELECT pg_catalog.clock_timestamp())
        ORDER BY o.expires_at LIMIT $1
        FOR UPDATE SKIP LOCKED
    ) e
    WHERE i.id = e.id
    RETURNING i.id";

const KEYS: &str = "
    UPDATE tailnet_private.keys k SET ended_at = k.expires_at
    FROM (
        SELECT o.id FROM tailnet_private.keys o
        WHERE o.ended_at IS NULL AND o.expires_at <= (SELECT pg_catalog.clock_timestamp())
        ORDER BY o.expires_at LIMIT $1
        FOR UPDATE SKIP LOCKED
    ) e
    WHERE k.id = e.id
    RETURNING k.id";

const TOKENS: &str = "
    DELETE FROM tailnet_private.tokens t
    USING (
        SELECT o.sha256 FROM tailnet_private.tokens o
        WHERE o.expires_at <= (SELECT pg_catalog.clock_timestamp())
        ORDER BY o.expires_at LIMIT $1
        FOR UPDATE SKIP LOCKED
    ) e
    WHERE t.sha256 = e.sha256
    RETURNING t.key_id, t.number";

/// Resume tokens of these peers have expired, so nothing needs to be remembered.
const TOMBSTONES: &str = "
    DELETE FROM tailnet_private.tombstones t
    USING (
        SELECT o.peer_id FROM tailnet_private.tombstones o
        WHERE o.expires_at <= (SELECT pg_catalog.clock_timestamp())
        ORDER BY o.expires_at LIMIT $1
        FOR UPDATE SKIP LOCKED
    ) e
    WHERE t.peer_id = e.peer_id";

/// Withdraws what has expired, at most so many of each kind, and returns how many. A row that another call has locked is left to
/// the next time: this waits for nobody. Nothing else in the transaction may lock networks: this locks rows, for which a call
/// that holds the lock of a network may wait.
pub fn withdraw(most: i64) -> Result<usize, Error> {
    let mut expired = rows(IDENTITIES, &[most.into()], |row| Ok(Withdrawal::Peer(row.id(1)?)))?;
    expired.extend(rows(KEYS, &[most.into()], |row| Ok(Withdrawal::Key(row.id(1)?)))?);
    expired.extend(rows(TOKENS, &[most.into()], |row| Ok(Withdrawal::Token { key: row.id(1)?, number: row.get(2)? }))?);
    let count = expired.len() + run(TOMBSTONES, &[most.into()])?;
    expired.into_iter().try_for_each(note)?;
    Ok(count)
}
