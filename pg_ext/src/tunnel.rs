//! Tunnels: directed pairs of peers that learn each other's binding.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use pgrx::{datum::DatumWithOid, prelude::*};
use tailnet_wire::{Binding, Event, Refusal, SessionId, TunnelEnd};
use uuid::Uuid;

use crate::{
    array::{self, Array, to_pg, uuid_array},
    binding,
    error::{Error, raise_error},
    fanout::Fanout,
    statement::rows,
    turn::Turn,
};

/// Requests of current sessions, and whether each is allowed. A peer of another network is treated like one that does
/// not exist, so that nobody learns of it.
const JUDGE: &str = "
    SELECT q.ord,
           d.id IS NOT NULL AND q.src <> q.dst AND (
               s.role = 'hub'
               OR s.role = 'client' AND d.role = 'agent' AND (
                   n.clients_reach_all_agents
                   OR EXISTS (SELECT FROM tailnet_private.grants g WHERE g.client_id = s.id AND g.agent_id = d.id)))
    FROM unnest($2, $3, $4) WITH ORDINALITY q(src, session, dst, ord)
    JOIN tailnet_private.peers p ON p.id = q.src AND p.session = q.session AND p.coordinator_id IS NOT DISTINCT FROM $1
    JOIN tailnet_private.identities s ON s.id = q.src
    JOIN tailnet_private.networks n ON n.id = s.network_id
    LEFT JOIN tailnet_private.identities d ON d.id = q.dst AND d.network_id = s.network_id AND d.revoked_at IS NULL
    ORDER BY q.ord";

const OPEN: &str = "
    INSERT INTO tailnet_private.tunnels (src, dst)
    SELECT q.src, q.dst FROM unnest($1, $2) q(src, dst)
    ON CONFLICT (src, dst) DO NOTHING
    RETURNING src, dst";

/// A session may close a tunnel with its last word: it holds as long as no newer session stands.
const CLOSE: &str = "
    DELETE FROM tailnet_private.tunnels t
    USING unnest($2, $3, $4) q(src, session, dst), tailnet_private.peers p
    WHERE t.src = q.src AND t.dst = q.dst AND p.id = q.src AND p.session = q.session
      AND (p.coordinator_id IS NOT DISTINCT FROM $1 OR p.coordinator_id IS NULL)
    RETURNING t.src, t.dst";

const ENDS: &str = "
    SELECT p.id, p.coordinator_id, p.status, p.digest, p.node
    FROM unnest($1) q(id)
    JOIN tailnet_private.peers p ON p.id = q.id";

/// A session's wish about a tunnel to another peer.
#[derive(Debug, Clone, Copy)]
pub struct TunnelRequest {
    pub src: SessionId,
    pub dst: Uuid,
}

/// The requests of a batch.
pub fn requests(
    srcs: Array<pgrx::Uuid>,
    sessions: Array<i64>,
    dsts: Array<pgrx::Uuid>,
) -> Result<Vec<TunnelRequest>, Error> {
    let srcs = array::ids("srcs", srcs)?;
    let numbers = array::values("sessions", sessions)?;
    let dsts = array::ids("dsts", dsts)?;
    array::same_length("srcs", &srcs, "sessions", &numbers)?;
    array::same_length("srcs", &srcs, "dsts", &dsts)?;
    let srcs = srcs.into_iter().zip(numbers).map(|(peer, number)| SessionId { peer, number });
    Ok(srcs.zip(dsts).map(|(src, dst)| TunnelRequest { src, dst }).collect())
}

/// Coordinator, sources, session numbers and destinations: the parameters of the statements about requests.
pub fn arguments<'a>(turn: &Turn, batch: &[TunnelRequest]) -> [DatumWithOid<'a>; 4] {
    let numbers: Vec<i64> = batch.iter().map(|r| r.src.number).collect();
    [
        to_pg(turn.coordinator).into(),
        uuid_array(batch.iter().map(|r| r.src.peer)).into(),
        numbers.into(),
        uuid_array(batch.iter().map(|r| r.dst)).into(),
    ]
}

#[pg_extern]
fn open_tunnels(
    registration: Option<pgrx::Uuid>,
    srcs: Array<pgrx::Uuid>,
    sessions: Array<i64>,
    dsts: Array<pgrx::Uuid>,
) -> i32 {
    raise_error(|| {
        let mut batch = requests(srcs, sessions, dsts)?;
        let mut turn = Turn::take(registration, &mut batch, |request| request.src.peer)?;
        let (allowed, refused) = judge(&turn, &batch)?;
        for TunnelRequest { src, dst } in refused {
            let role = turn.role(src.peer);
            turn.refuse(src, Refusal::Tunnel { dst, role });
        }
        let opened = open(&mut turn, allowed)?;
        turn.end(opened)
    })
}

#[pg_extern]
fn close_tunnels(
    registration: Option<pgrx::Uuid>,
    srcs: Array<pgrx::Uuid>,
    sessions: Array<i64>,
    dsts: Array<pgrx::Uuid>,
) -> i32 {
    raise_error(|| {
        let mut batch = requests(srcs, sessions, dsts)?;
        let mut turn = Turn::take(registration, &mut batch, |request| request.src.peer)?;
        let closed = rows(CLOSE, &arguments(&turn, &batch), |row| Ok((row.id(1)?, row.id(2)?)))?;
        tell_closed(&mut turn.fanout, &closed)?;
        turn.end(closed.len())
    })
}

/// Splits the requests of current sessions into the tunnels that are allowed and the requests that are not.
pub fn judge(turn: &Turn, batch: &[TunnelRequest]) -> Result<(BTreeSet<(Uuid, Uuid)>, Vec<TunnelRequest>), Error> {
    let (mut allowed, mut refused) = (BTreeSet::new(), Vec::new());
    if batch.is_empty() {
        return Ok((allowed, refused));
    }
    for (place, fine) in rows(JUDGE, &arguments(turn, batch), |row| Ok((row.place(1)?, row.get::<bool>(2)?)))? {
        let request = batch[place];
        if fine {
            allowed.insert((request.src.peer, request.dst));
        } else {
            refused.push(request);
        }
    }
    Ok((allowed, refused))
}

/// Opens the tunnels that are not open yet, and tells both ends.
pub fn open(turn: &mut Turn, allowed: BTreeSet<(Uuid, Uuid)>) -> Result<usize, Error> {
    if allowed.is_empty() {
        return Ok(0);
    }
    let (srcs, dsts): (Vec<_>, Vec<_>) = allowed.into_iter().unzip();
    let opened = rows(OPEN, &[uuid_array(srcs).into(), uuid_array(dsts).into()], |row| Ok((row.id(1)?, row.id(2)?)))?;
    tell_opened(&mut turn.fanout, &opened)?;
    Ok(opened.len())
}

/// A live or lost end of a tunnel.
#[derive(Clone)]
struct End {
    coordinator: Option<Uuid>,
    binding: Option<Binding>,
}

/// For each source, and each coordinator of one of its ends, one event: bindings only where somebody needs them.
fn tell_opened(fanout: &mut Fanout, opened: &[(Uuid, Uuid)]) -> Result<(), Error> {
    let ends = ends(opened)?;
    for (src, dsts) in by_src(opened) {
        let source = ends.get(&src);
        let holder = source.and_then(|end| end.coordinator);
        for (coordinator, held) in by_coordinator(&ends, &dsts, holder) {
            let far = |dst: &Uuid| TunnelEnd { id: *dst, binding: ends.get(dst).and_then(|end| end.binding.clone()) };
            let dsts = if holder == Some(coordinator) {
                dsts.iter().map(far).collect()
            } else {
                held.iter().map(|dst| TunnelEnd { id: *dst, binding: None }).collect()
            };
            let src_binding = if held.is_empty() { None } else { source.and_then(|end| end.binding.clone()) };
            fanout.tell(coordinator, &Event::Opened { src, src_binding, dsts });
        }
    }
    Ok(())
}

/// Tells the coordinators of both ends of tunnels that were closed.
pub fn tell_closed(fanout: &mut Fanout, closed: &[(Uuid, Uuid)]) -> Result<(), Error> {
    let ends = ends(closed)?;
    for (src, dsts) in by_src(closed) {
        let holder = ends.get(&src).and_then(|end| end.coordinator);
        for (coordinator, held) in by_coordinator(&ends, &dsts, holder) {
            let dsts = if holder == Some(coordinator) { dsts.clone() } else { held };
            fanout.tell(coordinator, &Event::Closed { src, dsts });
        }
    }
    Ok(())
}

fn ends(tunnels: &[(Uuid, Uuid)]) -> Result<HashMap<Uuid, End>, Error> {
    let ids: BTreeSet<Uuid> = tunnels.iter().flat_map(|(src, dst)| [*src, *dst]).collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let found = rows(ENDS, &[uuid_array(ids).into()], |row| {
        Ok((row.id(1)?, End { coordinator: row.maybe_id(2)?, binding: binding::from_row(row, 3)? }))
    })?;
    Ok(found.into_iter().collect())
}

fn by_src(tunnels: &[(Uuid, Uuid)]) -> BTreeMap<Uuid, Vec<Uuid>> {
    let mut grouped: BTreeMap<Uuid, Vec<Uuid>> = BTreeMap::new();
    for (src, dst) in tunnels {
        grouped.entry(*src).or_default().push(*dst);
    }
    grouped
}

/// The coordinators that hold an end, each with the destinations that it holds.
fn by_coordinator(ends: &HashMap<Uuid, End>, dsts: &[Uuid], holder: Option<Uuid>) -> BTreeMap<Uuid, Vec<Uuid>> {
    let mut held: BTreeMap<Uuid, Vec<Uuid>> = holder.into_iter().map(|id| (id, Vec::new())).collect();
    for dst in dsts {
        if let Some(coordinator) = ends.get(dst).and_then(|end| end.coordinator) {
            held.entry(coordinator).or_default().push(*dst);
        }
    }
    held
}
