//! The rows of what is pending.

use uuid::Uuid;

use crate::{
    error::Error,
    pg::{
        statement::{Row, rows, run},
        uuids::to_pg,
    },
};

const NOTE: &str = "INSERT INTO tailnet_private.pending (kind, peer_id, dst_id) VALUES ($1, $2, $3)";

const OLDEST: &str = "SELECT w.id, w.kind, w.peer_id, w.dst_id FROM tailnet_private.pending w ORDER BY w.id LIMIT $1";

const DONE: &str = "DELETE FROM tailnet_private.pending w USING unnest($1) q(id) WHERE w.id = q.id";

/// What is to end.
#[derive(Debug, Clone, Copy)]
pub enum Withdrawal {
    /// The session and the tunnels of a peer that may not connect any more.
    Peer(Uuid),
    /// A tunnel, if nothing else allows it.
    Tunnel { src: Uuid, dst: Uuid },
}

/// One row.
#[derive(Debug, Clone, Copy)]
pub struct Pending {
    pub id: i64,
    pub what: Withdrawal,
}

/// Notes what is to end. The caller holds the locks of the networks, and has written why.
pub fn note(what: Withdrawal) -> Result<(), Error> {
    let (kind, peer, dst) = match what {
        Withdrawal::Peer(peer) => ("peer", peer, None),
        Withdrawal::Tunnel { src, dst } => ("tunnel", src, Some(to_pg(dst))),
    };
    run(NOTE, &[kind.to_owned().into(), to_pg(peer).into(), dst.into()]).map(drop)
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
    let (kind, peer): (String, _) = (row.get(2)?, row.id(3)?);
    let what = match (kind.as_str(), row.maybe_id(4)?) {
        ("peer", None) => Withdrawal::Peer(peer),
        ("tunnel", Some(dst)) => Withdrawal::Tunnel { src: peer, dst },
        _ => return Err(Error::Corrupt(format!("kind {kind}"))),
    };
    Ok(Pending { id: row.get(1)?, what })
}
