//! Handshakes: a peer tells a tunnel partner that it is ready for one.

use pgrx::prelude::*;
use tailnet_wire::{Event, Refusal, Role};

use crate::{
    array::Array,
    error::raise_error,
    statement::rows,
    tunnel::{arguments, requests},
    turn::Turn,
};

const READY: &str = "
    SELECT q.ord, d.coordinator_id,
           EXISTS (SELECT FROM tailnet_private.tunnels o WHERE o.src = q.src AND o.dst = q.dst)
           OR EXISTS (SELECT FROM tailnet_private.tunnels i WHERE i.src = q.dst AND i.dst = q.src)
    FROM unnest($2, $3, $4) WITH ORDINALITY q(src, session, dst, ord)
    JOIN tailnet_private.peers p ON p.id = q.src AND p.session = q.session AND p.coordinator_id IS NOT DISTINCT FROM $1
    LEFT JOIN tailnet_private.peers d ON d.id = q.dst";

#[pg_extern]
fn ready_for_handshake(
    registration: Option<pgrx::Uuid>,
    srcs: Array<pgrx::Uuid>,
    sessions: Array<i64>,
    dsts: Array<pgrx::Uuid>,
) -> i32 {
    raise_error(|| {
        let mut batch = requests(srcs, sessions, dsts)?;
        let mut turn = Turn::take(registration, &mut batch, |request| request.src.peer)?;
        let found =
            rows(READY, &arguments(&turn, &batch), |row| Ok((row.place(1)?, row.maybe_id(2)?, row.get::<bool>(3)?)))?;
        let mut told = 0;
        for (place, coordinator, shared) in found {
            let request = batch[place];
            let (src, dst) = (request.src, request.dst);
            if turn.role(src.peer) == Role::Client {
                turn.refuse(src, Refusal::HandshakeByRole(Role::Client));
            } else if !shared {
                turn.refuse(src, Refusal::HandshakeWithoutTunnel { dst });
            } else if let Some(coordinator) = coordinator {
                turn.fanout.tell(coordinator, &Event::Ready { src: src.peer, dst });
                told += 1;
            }
        }
        turn.end(told)
    })
}
