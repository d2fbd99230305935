//! Sessions end: a peer says goodbye (disconnected), or its websocket ends without one (lost).

use pgrx::prelude::*;
use tailnet_wire::{Binding, Ending, Event, Role};
use uuid::Uuid;

use crate::{
    credentials::proof,
    error::{Error, raise_error},
    order::{fanout::Fanout, turn::Turn},
    peers::{
        batch::{proved_sessions, session_parameters, sessions, take_proved},
        fencing::{newest, remember},
        key_peers,
    },
    pg::{
        arguments::Array,
        statement::{rows, run},
        uuids::uuid_array,
    },
};

/// A session that ended keeps its number, so the tunnels that it closes with its last call are still closed for it.
///
/// Session 7 may have replaced session 5 on one proxy, and ended before it was attached. The tables then still have 5, which
/// no longer exists. So the end of 7 also ends 5: `o.session <= q.session`.
const LOSE: &str = "
    UPDATE tailnet_private.peers p SET
        coordinator_id = NULL, session = old.ended, updated_at = now, lost_at = now, forget_at = now + p.time_to_live,
        status = CASE WHEN p.status = 'ok' THEN 'lost' ELSE p.status END
    FROM (
        SELECT o.id, o.status, o.session, q.session AS ended
        FROM unnest($2, $3) q(id, session)
        JOIN tailnet_private.peers o ON o.id = q.id AND o.coordinator_id IS NOT DISTINCT FROM $1 AND o.session <= q.session
    ) old, pg_catalog.clock_timestamp() now
    WHERE p.id = old.id
    RETURNING p.id, old.status IS NOT DISTINCT FROM 'ok', old.session, p.session";

/// A goodbye may come after the session was lost together with its coordinator. It counts as long as the peer has no newer
/// session. A session that says goodbye was attached. So if an earlier session is the current one, a crash has made the
/// tables forget the later one, and the goodbye counts too.
const DISCONNECT: &str = "
    SELECT p.id, p.coordinator_id, p.session, q.session
    FROM unnest($2, $3) q(id, session)
    JOIN tailnet_private.peers p ON p.id = q.id
    WHERE p.session < q.session
       OR p.session = q.session AND (p.coordinator_id IS NULL OR p.coordinator_id IS NOT DISTINCT FROM $1)";

const DELETE_OUTBOUND: &str = "DELETE FROM tailnet_private.tunnels t USING unnest($1) q(id) WHERE t.src = q.id";

const DELETE_PEERS: &str = "
    DELETE FROM tailnet_private.peers p USING unnest($1) q(id) WHERE p.id = q.id RETURNING p.key_id";

#[pg_extern]
fn lose_peers(registration: Option<pgrx::Uuid>, peers: Array<pgrx::Uuid>, sessions: Array<i64>) -> i32 {
    raise_error(|| {
        let mut batch = newest(self::sessions(peers, sessions)?);
        let mut turn = Turn::take(registration, &mut batch, |session| session.peer)?;
        let ended = rows(LOSE, &session_parameters(&turn, &batch), |row| {
            Ok((row.id(1)?, row.get::<bool>(2)?, row.get::<i64>(3)?, row.get::<i64>(4)?))
        })?;
        let lost: Vec<_> = ended.iter().filter(|(_, bound, ..)| *bound).map(|(id, ..)| (*id, turn.role(*id))).collect();
        for (id, _, held, newer) in &ended {
            let holder = turn.coordinator;
            tell_superseded(&mut turn, Some(holder), *id, *held, *newer);
        }
        turn.fanout.tell_partners(&lost, |id| Event::Changed { id, binding: Binding::Lost })?;
        turn.end(ended.len())
    })
}

#[pg_extern]
fn disconnect_peers(
    registration: Option<pgrx::Uuid>,
    peers: Array<pgrx::Uuid>,
    sessions: Array<i64>,
    proofs: Array<String>,
) -> i32 {
    raise_error(|| {
        let (batch, proofs) = proved_sessions(peers, sessions, proofs)?;
        let mut turn = take_proved(registration, &batch, &proofs)?;
        let batch = newest(proof::check(&turn, &batch, &proofs)?.proved.into_keys().collect());
        remember(&turn, &batch)?;
        let ended = rows(DISCONNECT, &session_parameters(&turn, &batch), |row| {
            Ok((row.id(1)?, row.maybe_id(2)?, row.get(3)?, row.get(4)?))
        })?;
        for (id, holder, held, newer) in &ended {
            tell_superseded(&mut turn, *holder, *id, *held, *newer);
        }
        let gone: Vec<_> = ended.iter().map(|(id, ..)| (*id, turn.role(*id))).collect();
        remove(&mut turn.fanout, &gone)?;
        turn.end(ended.len())
    })
}

/// Tells a coordinator that an earlier session of the peer (`held`) has ended too, if it holds one.
fn tell_superseded(turn: &mut Turn, holder: Option<Uuid>, id: Uuid, held: i64, ended: i64) {
    if let Some(holder) = holder.filter(|_| held < ended) {
        turn.fanout.tell(holder, &Event::Ended { id, session: held, why: Ending::Superseded });
    }
}

/// Removes peers and the tunnels that they opened, and tells their partners. The caller holds the locks of their networks.
pub fn remove(fanout: &mut Fanout, peers: &[(Uuid, Role)]) -> Result<(), Error> {
    // The tunnels say who must hear it, so they are deleted after that.
    fanout.tell_partners(peers, |id| Event::Disconnected { id })?;
    let ids = || uuid_array(peers.iter().map(|(id, _)| *id));
    run(DELETE_OUTBOUND, &[ids().into()])?;
    let keys = rows(DELETE_PEERS, &[ids().into()], |row| row.maybe_id(1))?;
    key_peers::count(keys.into_iter().flatten().map(|key| (key, -1)))
}
