//! The rows of what is pending.

use uuid::Uuid;

use crate::{
    error::Error,
    pg::{
        statement::{Row, rows, run},
        uuids::to_pg,
    },
};

const NOTE: &str = "
    INSERT INTO tailnet_private.pending (kind, peer_id, dst_id, key_id, token_number) VALUES ($1, $2, $3, $4, $5)";

const OLDEST: &str = "
    SELECT w.id, w.kind, w.peer_id, w.dst_id, w.key_id, w.token_number
    FROM tailnet_private.pending w
    ORDER BY w.id LIMIT $1";

const DONE: &str = "DELETE FROM tailnet_private.pending w USING unnest($1) q(id) WHERE w.id = q.id";

/// What is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withdrawal {
    /// The session and the tunnels of a peer that may not connect any more.
    Peer(Uuid),
    /// A tunnel, if nothing else allows it.
    Tunnel { src: Uuid, dst: Uuid },
    /// All peers of a key.
    Key(Uuid),
    /// The peers of a key whose newest session came with this token.
    Token { key: Uuid, number: i32 },
}

/// One row.
#[derive(Debug, Clone, Copy)]
pub struct Pending {
    pub id: i64,
    pub what: Withdrawal,
}

/// Notes what is to end. The caller holds the locks of the networks, and has written why.
pub fn note(what: Withdrawal) -> Result<(), Error> {
    let (kind, peer, dst, key, token) = match what {
        Withdrawal::Peer(peer) => ("peer", Some(peer), None, None, None),
        Withdrawal::Tunnel { src, dst } => ("tunnel", Some(src), Some(dst), None, None),
        Withdrawal::Key(key) => ("key", None, None, Some(key), None),
        Withdrawal::Token { key, number } => ("token", None, None, Some(key), Some(number)),
    };
    let [peer, dst, key] = [peer, dst, key].map(|id| id.map(to_pg));
    run(NOTE, &[kind.to_owned().into(), peer.into(), dst.into(), key.into(), token.into()]).map(drop)
}

/// The oldest rows, at most so many.
pub fn oldest(most: i64) -> Result<Vec<Pending>, Error> {
    rows(OLDEST, &[most.into()], read)
}

/// Deletes rows: all that they name has ended.
pub fn done(ids: Vec<i64>) -> Result<(), Error> {
    if ids.is_empty() {
        return Ok(());
    }
    run(DONE, &[ids.into()]).map(drop)
}

fn read(row: &Row<'_>) -> Result<Pending, Error> {
    let kind: String = row.get(2)?;
    let what = match kind.as_str() {
        "peer" => Withdrawal::Peer(row.id(3)?),
        "tunnel" => Withdrawal::Tunnel { src: row.id(3)?, dst: row.id(4)? },
        "key" => Withdrawal::Key(row.id(5)?),
        "token" => Withdrawal::Token { key: row.id(5)?, number: row.get(6)? },
        _ => return Err(Error::Corrupt(format!("kind {kind}"))),
    };
    Ok(Pending { id: row.get(1)?, what })
}
