//! Reaping: a proxy ends what operators have taken away.

use pgrx::prelude::*;

use crate::{
    error::raise_error,
    order::{fanout::Fanout, locks::try_lock_reaper, registration::admit, turn::take_as_operator},
    pg::transaction::commit_without_flush,
    withdrawals::{
        ended_peers, forbidden_tunnels,
        pending::{self, Withdrawal},
    },
};

/// How many rows one call works off, and how many tunnels of peers it closes, at most. It holds the locks of their networks
/// meanwhile.
const MOST: i64 = 500;

#[pg_extern]
fn reap(registration: Option<pgrx::Uuid>) -> i32 {
    raise_error(|| {
        admit(registration)?;
        // One proxy at a time. The others have nothing to do: the one that reaps calls again for as long as rows are left.
        if !try_lock_reaper() {
            return Ok(0);
        }
        let rows = pending::oldest(MOST)?;
        if rows.is_empty() {
            return Ok(0);
        }
        commit_without_flush();
        let (mut peers, mut tunnels) = (Vec::new(), Vec::new());
        for row in &rows {
            match row.what {
                Withdrawal::Peer(peer) => peers.push(peer),
                Withdrawal::Tunnel { src, dst } => tunnels.push((src, dst)),
            }
        }
        let ends = tunnels.iter().flat_map(|(src, dst)| [*src, *dst]);
        let memberships = take_as_operator(&peers.iter().copied().chain(ends).collect::<Vec<_>>())?;
        let mut fanout = Fanout::default();
        let waiting = ended_peers::end(&mut fanout, &peers, &memberships, MOST)?;
        forbidden_tunnels::close(&mut fanout, &tunnels)?;
        let done = rows.iter().filter(|row| !matches!(row.what, Withdrawal::Peer(peer) if waiting.contains(&peer)));
        pending::done(done.map(|row| row.id).collect())?;
        fanout.send()?;
        Ok(i32::try_from(rows.len()).expect("a call works off a bounded number of rows"))
    })
}
