//! Sessions: one websocket of a peer. Of two sessions of a peer the one with the higher number is the newer; the other
//! is fenced off: whatever it still writes has no effect.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

use pgrx::prelude::*;
use tailnet_wire::{Binding, Ending, Event, Role, SessionId};
use uuid::Uuid;

use crate::{
    array::{self, Array, to_pg, uuid_array},
    binding::bind,
    error::{Error, raise_error},
    fanout::Fanout,
    statement::{rows, run},
    tunnel::{TunnelRequest, judge, open},
    turn::{self, Turn},
    view::send_views,
};

/// Read under the lock: it decides who may attach.
const CURRENT: &str = "
    SELECT i.id, i.revoked_at IS NOT NULL, greatest(i.session, p.session), p.session, p.coordinator_id
    FROM unnest($1) q(id)
    JOIN tailnet_private.identities i ON i.id = q.id
    LEFT JOIN tailnet_private.peers p ON p.id = q.id";

/// A binding stays as it is: partners of a peer that is taken over see no LOST in between.
const ATTACH: &str = "
    INSERT INTO tailnet_private.peers AS p (id, network_id, role, coordinator_id, session, updated_at)
    SELECT q.id, q.network_id, q.role, $1, q.session, pg_catalog.clock_timestamp()
    FROM unnest($2, $3, $4, $5) q(id, session, network_id, role)
    ON CONFLICT (id) DO UPDATE SET
        coordinator_id = EXCLUDED.coordinator_id, session = EXCLUDED.session, updated_at = EXCLUDED.updated_at,
        lost_at = NULL
    WHERE (p.coordinator_id, p.session) IS DISTINCT FROM (EXCLUDED.coordinator_id, EXCLUDED.session)";

/// A crash empties the table of peers. Who does not know yet that he was superseded must not be restored after it.
const REMEMBER: &str = "
    UPDATE tailnet_private.identities i SET session = q.session
    FROM unnest($1, $2) q(id, session)
    WHERE i.id = q.id AND i.session < q.session";

/// An ended session keeps its number, so that a tunnel that it closed with its last word is still closed for it. A
/// coordinator that ends a session of a peer ends earlier ones with it: it may hold one only, and the later may never
/// have been attached.
const LOSE: &str = "
    UPDATE tailnet_private.peers p SET
        coordinator_id = NULL, session = old.ended, updated_at = now, lost_at = now,
        status = CASE WHEN p.status = 'ok' THEN 'lost' ELSE p.status END
    FROM (
        SELECT o.id, o.status, o.session, q.session AS ended
        FROM unnest($2, $3) q(id, session)
        JOIN tailnet_private.peers o ON o.id = q.id AND o.coordinator_id IS NOT DISTINCT FROM $1 AND o.session <= q.session
    ) old, pg_catalog.clock_timestamp() now
    WHERE p.id = old.id
    RETURNING p.id, old.status IS NOT DISTINCT FROM 'ok', old.session, p.session";

/// A goodbye may come after the session was lost with its coordinator: it counts as long as no newer session stands. Who
/// says goodbye was attached, so an earlier session stands only because a crash has made the tables forget that.
const ENDING: &str = "
    SELECT p.id, p.coordinator_id, p.session, q.session
    FROM unnest($2, $3) q(id, session)
    JOIN tailnet_private.peers p ON p.id = q.id
    WHERE p.session < q.session
       OR p.session = q.session AND (p.coordinator_id IS NULL OR p.coordinator_id IS NOT DISTINCT FROM $1)";

const DELETE_OUTBOUND: &str = "DELETE FROM tailnet_private.tunnels t USING unnest($1) q(id) WHERE t.src = q.id";

const DELETE_PEERS: &str = "DELETE FROM tailnet_private.peers p USING unnest($1) q(id) WHERE p.id = q.id";

/// The sessions of a batch.
pub fn sessions(peers: Array<pgrx::Uuid>, sessions: Array<i64>) -> Result<Vec<SessionId>, Error> {
    let peers = array::ids("peers", peers)?;
    let numbers = array::values("sessions", sessions)?;
    array::same_length("peers", &peers, "sessions", &numbers)?;
    Ok(peers.into_iter().zip(numbers).map(|(peer, number)| SessionId { peer, number }).collect())
}

/// Of each peer the newest session of a batch, in the order of the peers.
fn newest(mut batch: Vec<SessionId>) -> Vec<SessionId> {
    batch.sort_by_key(|session| (session.peer, Reverse(session.number)));
    batch.dedup_by_key(|session| session.peer);
    batch
}

#[pg_extern]
fn attach_peers(registration: Option<pgrx::Uuid>, peers: Array<pgrx::Uuid>, sessions: Array<i64>) -> i32 {
    raise_error(|| {
        let batch = self::sessions(peers, sessions)?;
        let mut turn = Turn::take_of_all(registration, &batch)?;
        let attached = attach(&mut turn, &batch)?;
        send_views(&mut turn, &starts(&attached))?;
        turn.end(attached.len())
    })
}

#[pg_extern]
fn restore_peers(
    registration: Option<pgrx::Uuid>,
    peers: Array<pgrx::Uuid>,
    sessions: Array<i64>,
    nodes: Array<String>,
    tunnel_srcs: Array<pgrx::Uuid>,
    tunnel_dsts: Array<pgrx::Uuid>,
) -> i32 {
    raise_error(|| {
        let batch = self::sessions(peers, sessions)?;
        let nodes = array::elements("nodes", nodes)?;
        array::same_length("peers", &batch, "nodes", &nodes)?;
        let (srcs, dsts) = (array::ids("tunnel_srcs", tunnel_srcs)?, array::ids("tunnel_dsts", tunnel_dsts)?);
        array::same_length("tunnel_srcs", &srcs, "tunnel_dsts", &dsts)?;
        let mut turn = Turn::take_of_all(registration, &batch)?;
        let attached = attach(&mut turn, &batch)?;
        let numbers: HashMap<Uuid, i64> = attached.iter().map(|s| (s.peer, s.number)).collect();
        let bound = batch.iter().zip(nodes).filter(|(session, _)| numbers.get(&session.peer) == Some(&session.number));
        bind(&mut turn, bound.filter_map(|(session, node)| Some((*session, node?))))?;
        let requests: Vec<TunnelRequest> = srcs
            .into_iter()
            .zip(dsts)
            .filter_map(|(src, dst)| {
                Some(TunnelRequest { src: SessionId { peer: src, number: *numbers.get(&src)? }, dst })
            })
            .collect();
        // What a peer may no longer open was closed by the operator: that is no fault of the session.
        let (allowed, _) = judge(&turn, &requests)?;
        open(&mut turn, allowed)?;
        send_views(&mut turn, &starts(&attached))?;
        turn.end(attached.len())
    })
}

#[pg_extern]
fn lose_peers(registration: Option<pgrx::Uuid>, peers: Array<pgrx::Uuid>, sessions: Array<i64>) -> i32 {
    raise_error(|| {
        let mut batch = newest(self::sessions(peers, sessions)?);
        let mut turn = Turn::take(registration, &mut batch, |session| session.peer)?;
        let ended = rows(LOSE, &arguments(&turn, &batch), |row| {
            Ok((row.id(1)?, row.get::<bool>(2)?, row.get::<i64>(3)?, row.get::<i64>(4)?))
        })?;
        let lost: Vec<_> = ended.iter().filter(|(_, bound, ..)| *bound).map(|(id, ..)| (*id, turn.role(*id))).collect();
        for (id, _, held, newer) in &ended {
            let holder = turn.coordinator;
            end_earlier(&mut turn, Some(holder), *id, *held, *newer);
        }
        turn.fanout.tell_partners(&lost, |id| Event::Changed { id, binding: Binding::Lost })?;
        turn.end(ended.len())
    })
}

#[pg_extern]
fn disconnect_peers(registration: Option<pgrx::Uuid>, peers: Array<pgrx::Uuid>, sessions: Array<i64>) -> i32 {
    raise_error(|| {
        let batch = newest(self::sessions(peers, sessions)?);
        let mut turn = Turn::take_of_all(registration, &batch)?;
        remember(&turn, &batch)?;
        let ended = rows(ENDING, &arguments(&turn, &batch), |row| {
            Ok((row.id(1)?, row.maybe_id(2)?, row.get(3)?, row.get(4)?))
        })?;
        for (id, holder, held, newer) in &ended {
            end_earlier(&mut turn, *holder, *id, *held, *newer);
        }
        let gone: Vec<_> = ended.iter().map(|(id, ..)| (*id, turn.role(*id))).collect();
        disconnect(&mut turn.fanout, &gone)?;
        turn.end(ended.len())
    })
}

/// A session ended, and with it the earlier one that a coordinator holds.
fn end_earlier(turn: &mut Turn, holder: Option<Uuid>, id: Uuid, held: i64, ended: i64) {
    if let Some(holder) = holder.filter(|_| held < ended) {
        turn.fanout.tell(holder, &Event::Ended { id, session: held, why: Ending::Superseded });
    }
}

/// Deletes peers and the tunnels that they opened, and tells their partners. Under the lock.
pub fn disconnect(fanout: &mut Fanout, peers: &[(Uuid, Role)]) -> Result<(), Error> {
    // Who must hear it is known only while the tunnels stand.
    fanout.tell_partners(peers, |id| Event::Disconnected { id })?;
    let ids = || uuid_array(peers.iter().map(|(id, _)| *id));
    run(DELETE_OUTBOUND, &[ids().into()])?;
    run(DELETE_PEERS, &[ids().into()])?;
    Ok(())
}

/// Makes sessions the current ones of their peers; returns those that now are. A session that an earlier one holds
/// elsewhere supersedes it; one that comes too late is told that it is superseded itself.
fn attach(turn: &mut Turn, batch: &[SessionId]) -> Result<Vec<SessionId>, Error> {
    let numbers: BTreeMap<Uuid, i64> = newest(batch.to_vec()).into_iter().map(|s| (s.peer, s.number)).collect();
    let current = rows(CURRENT, &[uuid_array(numbers.keys().copied()).into()], |row| {
        Ok((row.id(1)?, row.get::<bool>(2)?, row.get::<i64>(3)?, row.maybe::<i64>(4)?, row.maybe_id(5)?))
    })?;
    let mut attached = Vec::with_capacity(current.len());
    for (id, revoked, highest, session, coordinator) in current {
        let new = SessionId { peer: id, number: numbers[&id] };
        let held_elsewhere = coordinator.is_some_and(|holder| holder != turn.coordinator);
        if revoked {
            turn.answer(&Event::Ended { id, session: new.number, why: Ending::Revoked });
        } else if highest > new.number || (session == Some(new.number) && held_elsewhere) {
            turn.answer(&Event::Ended { id, session: new.number, why: Ending::Superseded });
        } else {
            if let (Some(old), Some(holder)) = (session, coordinator)
                && old != new.number
            {
                turn.fanout.tell(holder, &Event::Ended { id, session: old, why: Ending::Superseded });
            }
            attached.push(new);
        }
    }
    let [coordinator, ids, numbers] = arguments(turn, &attached);
    let known = || attached.iter().map(|session| turn.identities[&session.peer]);
    let networks = uuid_array(known().map(|identity| identity.network));
    let roles: Vec<_> = known().map(|identity| identity.role.as_str().to_owned()).collect();
    run(ATTACH, &[coordinator, ids, numbers, networks.into(), roles.into()])?;
    remember(turn, &attached)?;
    Ok(attached)
}

/// No earlier session of these peers may be attached from now on.
fn remember(turn: &Turn, newest: &[SessionId]) -> Result<(), Error> {
    let [_, ids, numbers] = arguments(turn, newest);
    if run(REMEMBER, &[ids, numbers])? > 0 {
        // The commit must not wait for a disk or a standby with the networks' locks held.
        turn::set_local(c"synchronous_commit", c"off");
    }
    Ok(())
}

/// Coordinator, ids and numbers: the parameters of the statements that fence.
fn arguments<'a>(turn: &Turn, batch: &[SessionId]) -> [pgrx::datum::DatumWithOid<'a>; 3] {
    let numbers: Vec<i64> = batch.iter().map(|s| s.number).collect();
    [to_pg(turn.coordinator).into(), uuid_array(batch.iter().map(|s| s.peer)).into(), numbers.into()]
}

/// Views from their beginning.
fn starts(attached: &[SessionId]) -> Vec<(SessionId, Option<Uuid>)> {
    attached.iter().map(|session| (*session, None)).collect()
}
