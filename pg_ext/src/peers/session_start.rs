//! Sessions begin: a peer connects, or a proxy restores the sessions that it holds after it registered again.

use std::collections::{BTreeMap, HashMap};

use pgrx::prelude::*;
use tailnet_wire::{Ending, Event, SessionId};
use uuid::Uuid;

use crate::{
    credentials::{
        proof::{self, Judged},
        session_numbers::keep_ahead,
    },
    error::{Error, raise_error},
    order::turn::Turn,
    peers::{
        batch::{TunnelRequest, proved_sessions, session_parameters},
        binding::bind,
        fencing::{newest, remember},
        permission::judge,
        tunnel::open,
        view::send_views,
    },
    pg::{
        arguments::{self, Array},
        statement::{rows, run},
        uuids::uuid_array,
    },
};

/// What decides whether a session may be attached. It is read under the lock.
const CURRENT: &str = "
    SELECT i.id, i.revoked_at IS NOT NULL, greatest(i.session, p.session), p.session, p.coordinator_id
    FROM unnest($1) q(id)
    JOIN tailnet_private.identities i ON i.id = q.id
    LEFT JOIN tailnet_private.peers p ON p.id = q.id";

/// The binding stays as it is. So when a newer session of a peer takes over, its partners see no LOST in between.
const ATTACH: &str = "
    INSERT INTO tailnet_private.peers AS p (id, network_id, role, coordinator_id, session, updated_at)
    SELECT q.id, q.network_id, q.role, $1, q.session, pg_catalog.clock_timestamp()
    FROM unnest($2, $3, $4, $5) q(id, session, network_id, role)
    ON CONFLICT (id) DO UPDATE SET
        coordinator_id = EXCLUDED.coordinator_id, session = EXCLUDED.session, updated_at = EXCLUDED.updated_at,
        lost_at = NULL
    WHERE (p.coordinator_id, p.session) IS DISTINCT FROM (EXCLUDED.coordinator_id, EXCLUDED.session)";

#[pg_extern]
fn attach_peers(
    registration: Option<pgrx::Uuid>,
    peers: Array<pgrx::Uuid>,
    sessions: Array<i64>,
    proofs: Array<String>,
) -> i32 {
    raise_error(|| {
        let (batch, proofs) = proved_sessions(peers, sessions, proofs)?;
        let mut turn = Turn::take_of_all(registration, &batch)?;
        let attached = attach(&mut turn, &batch, &proofs)?;
        send_views(&mut turn, &first_pages(&attached))?;
        turn.end(attached.len())
    })
}

#[pg_extern]
fn restore_peers(
    registration: Option<pgrx::Uuid>,
    peers: Array<pgrx::Uuid>,
    sessions: Array<i64>,
    proofs: Array<String>,
    nodes: Array<String>,
    tunnel_srcs: Array<pgrx::Uuid>,
    tunnel_dsts: Array<pgrx::Uuid>,
) -> i32 {
    raise_error(|| {
        let (batch, proofs) = proved_sessions(peers, sessions, proofs)?;
        let nodes = arguments::elements("nodes", nodes)?;
        arguments::same_length("peers", &batch, "nodes", &nodes)?;
        let (srcs, dsts) = (arguments::ids("tunnel_srcs", tunnel_srcs)?, arguments::ids("tunnel_dsts", tunnel_dsts)?);
        arguments::same_length("tunnel_srcs", &srcs, "tunnel_dsts", &dsts)?;
        let mut turn = Turn::take_of_all(registration, &batch)?;
        let attached = attach(&mut turn, &batch, &proofs)?;
        let numbers: HashMap<Uuid, i64> = attached.iter().map(|session| (session.peer, session.number)).collect();
        let bound = batch.iter().zip(nodes).filter(|(session, _)| numbers.get(&session.peer) == Some(&session.number));
        bind(&mut turn, bound.filter_map(|(session, node)| Some((*session, node?))))?;
        let requests: Vec<TunnelRequest> = srcs
            .into_iter()
            .zip(dsts)
            .filter_map(|(peer, dst)| {
                Some(TunnelRequest { src: SessionId { peer, number: *numbers.get(&peer)? }, dst })
            })
            .collect();
        // An operator has closed the tunnels that are no longer allowed. The session did nothing wrong, so it hears of no
        // refusal.
        let judged = judge(&turn, &requests)?;
        open(&mut turn, judged.allowed)?;
        send_views(&mut turn, &first_pages(&attached))?;
        turn.end(attached.len())
    })
}

/// Makes sessions the current ones of their peers, and returns those that now are. The session that was current before is
/// told that it is superseded; so is a session of the batch that is older than the current one.
fn attach(turn: &mut Turn, batch: &[SessionId], proofs: &[String]) -> Result<Vec<SessionId>, Error> {
    let Judged { proved, unproved } = proof::judge(turn, batch, proofs)?;
    for SessionId { peer: id, number: session } in unproved {
        turn.answer(&Event::Ended { id, session, why: Ending::Unproved });
    }
    keep_ahead(&proved)?;
    let numbers: BTreeMap<Uuid, i64> =
        newest(proved).into_iter().map(|session| (session.peer, session.number)).collect();
    let current = rows(CURRENT, &[uuid_array(numbers.keys().copied()).into()], |row| {
        Ok((row.id(1)?, row.get::<bool>(2)?, row.get::<i64>(3)?, row.maybe::<i64>(4)?, row.maybe_id(5)?))
    })?;
    let mut attached = Vec::with_capacity(current.len());
    for (peer, revoked, highest, session, coordinator) in current {
        let new = SessionId { peer, number: numbers[&peer] };
        let held_elsewhere = coordinator.is_some_and(|holder| holder != turn.coordinator);
        if revoked {
            turn.answer(&Event::Ended { id: peer, session: new.number, why: Ending::Revoked });
        } else if highest > new.number || (session == Some(new.number) && held_elsewhere) {
            turn.answer(&Event::Ended { id: peer, session: new.number, why: Ending::Superseded });
        } else {
            if let (Some(old), Some(holder)) = (session, coordinator)
                && old != new.number
            {
                turn.fanout.tell(holder, &Event::Ended { id: peer, session: old, why: Ending::Superseded });
            }
            attached.push(new);
        }
    }
    let [coordinator, ids, numbers] = session_parameters(turn, &attached);
    let memberships = || attached.iter().map(|session| turn.memberships[&session.peer]);
    let networks = uuid_array(memberships().map(|membership| membership.network));
    let roles: Vec<_> = memberships().map(|membership| membership.role.as_str().to_owned()).collect();
    run(ATTACH, &[coordinator, ids, numbers, networks.into(), roles.into()])?;
    remember(turn, &attached)?;
    Ok(attached)
}

/// The first page of each session's view.
fn first_pages(attached: &[SessionId]) -> Vec<(SessionId, Option<Uuid>)> {
    attached.iter().map(|session| (*session, None)).collect()
}
