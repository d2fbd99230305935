//! Tunnels: directed pairs of peers that learn each other's binding.

use std::collections::BTreeSet;

use pgrx::prelude::*;
use tailnet_wire::Refusal;
use uuid::Uuid;

use crate::{
    error::{Error, raise_error},
    order::turn::Turn,
    peers::{
        batch::{TunnelRequest, tunnel_parameters, tunnel_requests},
        permission::judge,
        tunnel_events::{tell_closed, tell_opened},
    },
    pg::{arguments::Array, statement::rows, uuids::uuid_array},
};

const OPEN: &str = "
    INSERT INTO tailnet_private.tunnels (src, dst)
    SELECT q.src, q.dst FROM unnest($1, $2) q(src, dst)
    ON CONFLICT (src, dst) DO NOTHING
    RETURNING src, dst";

/// A session may close tunnels even after it was lost, as long as its peer has no newer session.
const CLOSE: &str = "
    DELETE FROM tailnet_private.tunnels t
    USING unnest($2, $3, $4) q(src, session, dst), tailnet_private.peers p
    WHERE t.src = q.src AND t.dst = q.dst AND p.id = q.src AND p.session = q.session
      AND (p.coordinator_id IS NOT DISTINCT FROM $1 OR p.coordinator_id IS NULL)
    RETURNING t.src, t.dst";

#[pg_extern]
fn open_tunnels(
    registration: Option<pgrx::Uuid>,
    srcs: Array<pgrx::Uuid>,
    sessions: Array<i64>,
    dsts: Array<pgrx::Uuid>,
) -> i32 {
    raise_error(|| {
        let mut batch = tunnel_requests(srcs, sessions, dsts)?;
        let mut turn = Turn::take(registration, &mut batch, |request| request.src.peer)?;
        let judged = judge(&turn, &batch)?;
        for TunnelRequest { src, dst } in judged.refused {
            let role = turn.role(src.peer);
            turn.refuse(src, Refusal::Tunnel { dst, role });
        }
        let opened = open(&mut turn, judged.allowed)?;
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
        let mut batch = tunnel_requests(srcs, sessions, dsts)?;
        let mut turn = Turn::take(registration, &mut batch, |request| request.src.peer)?;
        let closed = rows(CLOSE, &tunnel_parameters(&turn, &batch), |row| Ok((row.id(1)?, row.id(2)?)))?;
        tell_closed(&mut turn.fanout, &closed)?;
        turn.end(closed.len())
    })
}

/// Opens those of the tunnels that are not open yet, and tells both ends.
pub fn open(turn: &mut Turn, allowed: BTreeSet<(Uuid, Uuid)>) -> Result<usize, Error> {
    if allowed.is_empty() {
        return Ok(0);
    }
    let (srcs, dsts): (Vec<_>, Vec<_>) = allowed.into_iter().unzip();
    let opened = rows(OPEN, &[uuid_array(srcs).into(), uuid_array(dsts).into()], |row| Ok((row.id(1)?, row.id(2)?)))?;
    tell_opened(&mut turn.fanout, &opened)?;
    Ok(opened.len())
}
