//! Reaping: a proxy ends what operators have taken away, what has expired, and peers that stayed away for too long.

use std::collections::HashSet;

use pgrx::prelude::*;
use tailnet_wire::SessionId;
use uuid::Uuid;

use crate::{
    derp_maps::tell_change,
    error::{Error, raise_error},
    order::{
        fanout::Fanout,
        locks::{lock_networks, try_lock_reaper},
        registration::admit,
        turn::take_as_operator,
    },
    peers::forbidden_tunnels,
    pg::{statement::rows, transaction::commit_without_flush, uuids::to_pg},
    withdrawals::{
        absent_peers, deleted_networks, ended_peers, ended_sessions, expiry,
        judged_tunnels::{self, Tunnels},
        pending::{self, Direction, Pending, Withdrawal},
    },
};

/// How many rows and peers one call works off, and how many tunnels of peers it closes, at most. It holds the locks of their
/// networks meanwhile.
const MOST: i64 = 500;

/// How many peers one call looks at, for those of a network.
const PAGE: i64 = 5_000;

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
        let reaped = match rows.first().map(|row| (row.id, row.what.clone())) {
            None => absent_peers::forget(MOST)?,
            Some((row, Withdrawal::Key(key))) => end_key(row, key, None)?,
            Some((row, Withdrawal::Token { key, number })) => end_key(row, key, Some(number))?,
            Some((_, Withdrawal::Peer(_) | Withdrawal::Tunnel { .. })) => end_peers_and_tunnels(&rows)?,
            Some((_, Withdrawal::Tunnels { direction, .. })) => judge_tunnels(&rows, direction)?,
            Some((row, Withdrawal::DerpMap(network))) => {
                let mut fanout = Fanout::default();
                tell_change(&mut fanout, network)?;
                pending::done(vec![row])?;
                fanout.send()?;
                1
            }
            Some((_, Withdrawal::Session(_))) => end_sessions(&rows)?,
            Some((row, Withdrawal::NetworkEnd { network, after })) => {
                deleted_networks::end(row, network, after, MOST, PAGE)?
            }
            Some((row, Withdrawal::KeyTunnels { key, inbound, after })) => {
                judged_tunnels::cut_key(row, key, inbound, after, MOST)?;
                1
            }
            Some((row, Withdrawal::Policy { network, tag, after })) => {
                judged_tunnels::cut_policy(row, network, &tag, after, MOST)?;
                1
            }
            Some((row, Withdrawal::Network { network, after })) => {
                judged_tunnels::cut_network(row, network, after, PAGE)?;
                1
            }
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
    ended_peers::end(&mut fanout, &ended, &memberships, MOST)?;
    if ended.is_empty() {
        pending::done(vec![row])?;
    }
    fanout.send()?;
    Ok(ended.len().max(1))
}

/// Works off the rows up to the first one of another kind.
fn end_peers_and_tunnels(rows: &[Pending]) -> Result<usize, Error> {
    let (mut peers, mut tunnels, mut done) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        match row.what {
            Withdrawal::Peer(peer) => peers.push(peer),
            Withdrawal::Tunnel { src, dst } => tunnels.push((src, dst)),
            _ => break,
        }
        done.push(row);
    }
    let ends = tunnels.iter().flat_map(|(src, dst)| [*src, *dst]);
    let memberships = take_as_operator(&peers.iter().copied().chain(ends).collect::<Vec<_>>())?;
    let mut fanout = Fanout::default();
    let waiting: HashSet<Uuid> = ended_peers::end(&mut fanout, &ended_peers::among(&peers)?, &memberships, MOST)?;
    forbidden_tunnels::close(&mut fanout, &tunnels)?;
    let reaped = done.len();
    done.retain(|row| !matches!(row.what, Withdrawal::Peer(peer) if waiting.contains(&peer)));
    pending::done(done.into_iter().map(|row| row.id).collect())?;
    fanout.send()?;
    Ok(reaped)
}

/// Works off the rows up to the first one of another kind.
fn end_sessions(rows: &[Pending]) -> Result<usize, Error> {
    let batch = rows.iter().map_while(|row| match row.what {
        Withdrawal::Session(session) => Some((row.id, session)),
        _ => None,
    });
    let (done, sessions): (Vec<i64>, Vec<SessionId>) = batch.unzip();
    let mut fanout = Fanout::default();
    ended_sessions::end(&mut fanout, &sessions)?;
    pending::done(done)?;
    fanout.send()?;
    Ok(sessions.len())
}

/// Works off the rows up to the first one of another kind or direction.
fn judge_tunnels(rows: &[Pending], direction: Direction) -> Result<usize, Error> {
    let batch: Vec<Tunnels> = rows
        .iter()
        .map_while(|row| match row.what {
            Withdrawal::Tunnels { peer, direction: other, after } if other == direction => {
                Some(Tunnels { row: row.id, peer, after })
            }
            _ => None,
        })
        .collect();
    let mut fanout = Fanout::default();
    judged_tunnels::judge(&mut fanout, direction, &batch, MOST)?;
    fanout.send()?;
    Ok(batch.len())
}
