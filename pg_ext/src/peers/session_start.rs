//! Sessions begin: a peer connects, or a proxy restores the sessions that it holds after it registered again.

use std::collections::{BTreeMap, HashMap, HashSet};

use pgrx::prelude::*;
use tailnet_wire::{Ending, Event, SessionId};
use uuid::Uuid;

use crate::{
    credentials::{
        proof::{self, Checked, Credential, Proof},
        session_numbers::keep_ahead,
    },
    error::{Error, raise_error},
    order::turn::Turn,
    peers::{
        batch::{TunnelRequest, proved_sessions, session_parameters, take_proved},
        binding::bind,
        fencing::{newest, remember},
        forbidden_tunnels, key_peers, narrowing,
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

/// What decides whether a session may be attached. It is read under the lock: of peers with an identity, and of peers that
/// came with a key.
const CURRENT: &str = "
    SELECT i.id,
           CASE WHEN i.expires_at <= pg_catalog.clock_timestamp() THEN 'expired'
                WHEN i.revoked_at IS NOT NULL THEN 'revoked' END,
           greatest(i.session, p.session), p.session, p.coordinator_id, p.id IS NULL, false
    FROM unnest($1) q(id)
    JOIN tailnet_private.identities i ON i.id = q.id
    LEFT JOIN tailnet_private.peers p ON p.id = q.id
    UNION ALL
    SELECT q.id,
           CASE WHEN k.expires_at <= pg_catalog.clock_timestamp() THEN 'expired'
                WHEN k.ended_at IS NOT NULL OR t.number IS NULL OR t.expires_at <= pg_catalog.clock_timestamp()
                     OR d.peer_id IS NOT NULL THEN 'revoked' END,
           coalesce(p.session, 0), p.session, p.coordinator_id, p.id IS NULL,
           p.id IS NULL AND (SELECT u.src FROM tailnet_private.tunnels u WHERE u.dst = q.id LIMIT 1) IS NOT NULL
    FROM unnest($2, $3, $4) q(id, key, token)
    JOIN tailnet_private.keys k ON k.id = q.key
    LEFT JOIN tailnet_private.tokens t ON t.key_id = q.key AND t.number = q.token
    LEFT JOIN tailnet_private.tombstones d ON d.peer_id = q.id
    LEFT JOIN tailnet_private.peers p ON p.id = q.id";

/// The binding stays as it is. So when a newer session of a peer takes over, its partners see no LOST in between.
const ATTACH: &str = "
    INSERT INTO tailnet_private.peers AS p (
        id, network_id, role, coordinator_id, session, updated_at, key_id, token_number, time_to_live)
    SELECT q.id, q.network_id, q.role, $1, q.session, pg_catalog.clock_timestamp(),
           k.id, CASE WHEN k.id IS NOT NULL THEN q.token END, k.time_to_live
    FROM unnest($2, $3, $4, $5, $6, $7) q(id, session, network_id, role, key, token)
    LEFT JOIN tailnet_private.keys k ON k.id = q.key
    ON CONFLICT (id) DO UPDATE SET
        coordinator_id = EXCLUDED.coordinator_id, session = EXCLUDED.session, updated_at = EXCLUDED.updated_at,
        token_number = EXCLUDED.token_number, lost_at = NULL, forget_at = NULL
    WHERE (p.coordinator_id, p.session) IS DISTINCT FROM (EXCLUDED.coordinator_id, EXCLUDED.session)";

/// What the tables know of a peer whose session is to be attached.
struct Current {
    peer: Uuid,
    refused: Option<Ending>,
    /// Of its sessions, the highest number that was attached.
    highest: i64,
    session: Option<i64>,
    coordinator: Option<Uuid>,
    is_new: bool,
    /// It came with a key, and there are tunnels to it that could not be judged before.
    is_awaited: bool,
}

/// Whether a key may have more peers than its limit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Limit {
    Holds,
    /// Its peers were there before a crash emptied the tables.
    Waived,
}

#[pg_extern]
fn attach_peers(
    registration: Option<pgrx::Uuid>,
    peers: Array<pgrx::Uuid>,
    sessions: Array<i64>,
    proofs: Array<String>,
    only_dsts: default!(Array<pgrx::Uuid>, "NULL"),
) -> i32 {
    raise_error(|| {
        let (batch, proofs) = proved_sessions(peers, sessions, proofs)?;
        let limits = narrowing::limits(only_dsts, &batch)?;
        let mut turn = take_proved(registration, &batch, &proofs)?;
        let attached = attach(&mut turn, &batch, &proofs, Limit::Holds)?;
        narrowing::close_others(&mut turn, &attached, &limits)?;
        send_views(&mut turn, &first_pages(&attached))?;
        turn.end(attached.len())
    })
}

#[pg_extern]
#[expect(clippy::too_many_arguments, reason = "the arrays of a batch are arguments of an SQL function")]
fn restore_peers(
    registration: Option<pgrx::Uuid>,
    peers: Array<pgrx::Uuid>,
    sessions: Array<i64>,
    proofs: Array<String>,
    nodes: Array<String>,
    tunnel_srcs: Array<pgrx::Uuid>,
    tunnel_dsts: Array<pgrx::Uuid>,
    only_dsts: default!(Array<pgrx::Uuid>, "NULL"),
) -> i32 {
    raise_error(|| {
        let (batch, proofs) = proved_sessions(peers, sessions, proofs)?;
        let nodes = arguments::elements("nodes", nodes)?;
        arguments::same_length("peers", &batch, "nodes", &nodes)?;
        let (srcs, dsts) = (arguments::ids("tunnel_srcs", tunnel_srcs)?, arguments::ids("tunnel_dsts", tunnel_dsts)?);
        arguments::same_length("tunnel_srcs", &srcs, "tunnel_dsts", &dsts)?;
        let limits = narrowing::limits(only_dsts, &batch)?;
        let mut turn = take_proved(registration, &batch, &proofs)?;
        let attached = attach(&mut turn, &batch, &proofs, Limit::Waived)?;
        narrowing::close_others(&mut turn, &attached, &limits)?;
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
        // refusal. Those to a peer that is not restored yet are judged when it is.
        let mut judged = judge(&turn, &requests)?;
        judged.allowed.extend(judged.unknown);
        open(&mut turn, judged.allowed)?;
        send_views(&mut turn, &first_pages(&attached))?;
        turn.end(attached.len())
    })
}

/// Makes sessions the current ones of their peers, and returns those that now are. The session that was current before is
/// told that it is superseded; so is a session of the batch that is older than the current one.
fn attach(
    turn: &mut Turn,
    batch: &[SessionId],
    proofs: &[Option<Proof>],
    limit: Limit,
) -> Result<Vec<SessionId>, Error> {
    let Checked { proved, unproved, deleted } = proof::check(turn, batch, proofs)?;
    for SessionId { peer: id, number: session } in deleted {
        turn.answer(&Event::Ended { id, session, why: Ending::Revoked });
    }
    for SessionId { peer: id, number: session } in unproved {
        turn.answer(&Event::Ended { id, session, why: Ending::Unproved });
    }
    keep_ahead(proved.keys())?;
    let newest: BTreeMap<Uuid, (SessionId, Credential)> =
        newest(proved.keys().copied().collect()).into_iter().map(|id| (id.peer, (id, proved[&id]))).collect();
    let mut attached: Vec<(SessionId, Credential)> = Vec::with_capacity(newest.len());
    let mut added = Vec::new();
    let mut awaited = HashSet::new();
    for Current { peer, refused, highest, session, coordinator, is_new, is_awaited } in current(newest.values())? {
        let (new, credential) = newest[&peer];
        let held_elsewhere = coordinator.is_some_and(|holder| holder != turn.coordinator);
        if let Some(why) = refused {
            turn.answer(&Event::Ended { id: peer, session: new.number, why });
        } else if highest > new.number || (session == Some(new.number) && held_elsewhere) {
            turn.answer(&Event::Ended { id: peer, session: new.number, why: Ending::Superseded });
        } else {
            if let (Some(old), Some(holder)) = (session, coordinator)
                && old != new.number
            {
                turn.fanout.tell(holder, &Event::Ended { id: peer, session: old, why: Ending::Superseded });
            }
            if is_new && !credential.key.is_nil() {
                added.push((new, credential.key));
            }
            awaited.extend(is_awaited.then_some(peer));
            attached.push((new, credential));
        }
    }
    if limit == Limit::Holds {
        let mut room = key_peers::room(added.iter().map(|(_, key)| *key))?;
        let mut full = HashSet::new();
        added.retain(|(id, key)| {
            let Some(room) = room.get_mut(key) else { return true };
            *room -= 1;
            *room >= 0 || !full.insert(*id)
        });
        for SessionId { peer: id, number: session } in &full {
            turn.answer(&Event::Ended { id: *id, session: *session, why: Ending::Full });
        }
        attached.retain(|(id, _)| !full.contains(id));
    }
    key_peers::count(added.into_iter().map(|(_, key)| (key, 1)))?;
    let (attached, credentials): (Vec<SessionId>, Vec<Credential>) = attached.into_iter().unzip();
    let [coordinator, ids, numbers] = session_parameters(turn, &attached);
    let memberships = || attached.iter().map(|session| turn.memberships[&session.peer]);
    let networks = uuid_array(memberships().map(|membership| membership.network));
    let roles: Vec<_> = memberships().map(|membership| membership.role.as_str().to_owned()).collect();
    let keys = uuid_array(credentials.iter().map(|credential| credential.key));
    let tokens: Vec<i32> = credentials.iter().map(|credential| credential.token).collect();
    run(ATTACH, &[coordinator, ids, numbers, networks.into(), roles.into(), keys.into(), tokens.into()])?;
    remember(turn, &attached)?;
    let awaited: Vec<Uuid> =
        attached.iter().map(|session| session.peer).filter(|peer| awaited.contains(peer)).collect();
    if !awaited.is_empty() {
        forbidden_tunnels::close_inbound(&mut turn.fanout, &awaited)?;
    }
    Ok(attached)
}

fn current<'a>(sessions: impl Iterator<Item = &'a (SessionId, Credential)>) -> Result<Vec<Current>, Error> {
    let (of_keys, of_identities): (Vec<_>, Vec<_>) =
        sessions.copied().partition(|(_, credential)| !credential.key.is_nil());
    let peers = |sessions: &[(SessionId, Credential)]| uuid_array(sessions.iter().map(|(id, _)| id.peer));
    let keys = uuid_array(of_keys.iter().map(|(_, credential)| credential.key));
    let tokens: Vec<i32> = of_keys.iter().map(|(_, credential)| credential.token).collect();
    let parameters = [peers(&of_identities).into(), peers(&of_keys).into(), keys.into(), tokens.into()];
    rows(CURRENT, &parameters, |row| {
        let refused = match row.maybe::<String>(2)?.as_deref() {
            None => None,
            Some("expired") => Some(Ending::Expired),
            Some(_) => Some(Ending::Revoked),
        };
        Ok(Current {
            peer: row.id(1)?,
            refused,
            highest: row.get(3)?,
            session: row.maybe(4)?,
            coordinator: row.maybe_id(5)?,
            is_new: row.get(6)?,
            is_awaited: row.get(7)?,
        })
    })
}

/// The first page of each session's view.
fn first_pages(attached: &[SessionId]) -> Vec<(SessionId, Option<Uuid>)> {
    attached.iter().map(|session| (*session, None)).collect()
}
