//! Reaping: a proxy ends what operators have taken away, what has expired, and peers that stayed away for too long.

use std::collections::HashSet;

use pgrx::prelude::*;
use uuid::Uuid;

use crate::{
    error::{Error, raise_error},
    order::{
        fanout::Fanout,
        locks::{lock_networks, try_lock_reaper},
        registration::admit,
        turn::take_as_operator,
    },
    pg::{statement::rows, transaction::commit_without_flush, uuids::to_pg},
    withdrawals::{
        absent_peers, ended_peers, expiry, forbidden_tunnels,
        pending::{self, Pending, Withdrawal},
    },
};

/// How many rows and peers one call works off, and how many tunnels of peers it closes, at most. It holds the locks of their
/// networks meanwhile.
const MOST: i64 = 500;

const NETWORK: &str = "SELECT k.network_id FROM tailnet_private.keys k WHERE k.id = $1";

#[pg_extern]
fn reap(registration: Option<pgrx::Uuid>) -> i32 {
    raise_error(|| {
        admit(registration)?;
        // One proxy at a time. The others have nothing to do: the one that reaps calls again for as long as rows are left.
        if !try_lock_reaper() {
            return Ok(0);
        }
        commit_without_flush();
        let expired = expiry::withdraw(MOST)?;
        if expired > 0 {
            return Ok(i32::try_from(expired).expect("a call withdraws a bounded number of rows"));
        }
        let rows = pending::oldest(MOST)?;
        let reaped = match rows.first().map(|row| row.what) {
            None => absent_peers::forget(MOST)?,
            Some(Withdrawal::Key(key)) => end_key(rows[0].id, key, None)?,
            Some(Withdrawal::Token { key, number }) => end_key(rows[0].id, key, Some(number))?,
            Some(_) => end_peers_and_tunnels(&rows)?,
        };
        Ok(i32::try_from(reaped).expect("a call works off a bounded number of rows"))
    })
}

/// Ends some of the peers of a key or a token. Its row is done when no peer is left.
fn end_key(row: i64, key: Uuid, token: Option<i32>) -> Result<usize, Error> {
    lock_networks(rows(NETWORK, &[to_pg(key).into()], |row| row.id(1))?);
    let ended = ended_peers::of_key(key, token, MOST)?;
    let memberships = take_as_operator(&ended.keys().copied().collect::<Vec<_>>())?;
    let mut fanout = Fanout::default();
    ended_peers::end(&mut fanout, &ended, |id| memberships[&id].role, MOST)?;
    if ended.is_empty() {
        pending::done(vec![row])?;
    }
    fanout.send()?;
    Ok(ended.len().max(1))
}

/// Works off the rows up to the first one of a key.
fn end_peers_and_tunnels(rows: &[Pending]) -> Result<usize, Error> {
    let (mut peers, mut tunnels, mut done) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        match row.what {
            Withdrawal::Peer(peer) => peers.push(peer),
            Withdrawal::Tunnel { src, dst } => tunnels.push((src, dst)),
            Withdrawal::Key(_) | Withdrawal::Token { .. } => break,
        }
        done.push(row);
    }
    let ends = tunnels.iter().flat_map(|(src, dst)| [*src, *dst]);
    let memberships = take_as_operator(&peers.iter().copied().chain(ends).collect::<Vec<_>>())?;
    let mut fanout = Fanout::default();
    let waiting: HashSet<Uuid> =
        ended_peers::end(&mut fanout, &ended_peers::among(&peers)?, |id| memberships[&id].role, MOST)?;
    forbidden_tunnels::close(&mut fanout, &tunnels)?;
    let reaped = done.len();
    done.retain(|row| !matches!(row.what, Withdrawal::Peer(peer) if waiting.contains(&peer)));
    pending::done(done.into_iter().map(|row| row.id).collect())?;
    fanout.send()?;
    Ok(reaped)
}
