//! Sessions that an operator ended. Their peers are lost, and may come back.

use tailnet_wire::{Binding, Ending, Event, SessionId};
use uuid::Uuid;

use crate::{
    error::Error,
    order::{fanout::Fanout, turn::take_as_operator},
    pg::{statement::rows, uuids::uuid_array},
};

/// A peer that has another session by now keeps it.
const LOSE: &str = "
    UPDATE tailnet_private.peers p SET
        coordinator_id = NULL, updated_at = now, lost_at = now, forget_at = now + p.time_to_live,
        status = CASE WHEN p.status = 'ok' THEN 'lost' ELSE p.status END
    FROM (
        SELECT o.id, o.coordinator_id, o.status
        FROM unnest($1, $2) q(id, session)
        JOIN tailnet_private.peers o ON o.id = q.id AND o.session = q.session AND o.coordinator_id IS NOT NULL
    ) old, pg_catalog.clock_timestamp() now
    WHERE p.id = old.id
    RETURNING p.id, p.session, old.coordinator_id, old.status IS NOT DISTINCT FROM 'ok'";

/// Ends those of the sessions that are still live. Nothing else in the transaction may lock networks.
pub fn end(fanout: &mut Fanout, sessions: &[SessionId]) -> Result<(), Error> {
    let peers: Vec<Uuid> = sessions.iter().map(|session| session.peer).collect();
    let numbers: Vec<i64> = sessions.iter().map(|session| session.number).collect();
    let memberships = take_as_operator(&peers)?;
    let ended = rows(LOSE, &[uuid_array(peers).into(), numbers.into()], |row| {
        Ok((row.id(1)?, row.get::<i64>(2)?, row.id(3)?, row.get::<bool>(4)?))
    })?;
    for (id, session, coordinator, _) in &ended {
        fanout.tell(*coordinator, &Event::Ended { id: *id, session: *session, why: Ending::Disconnected });
    }
    let bound = ended.into_iter().filter(|(.., bound)| *bound);
    let lost: Vec<_> = bound.filter_map(|(id, ..)| Some((id, memberships.get(&id)?.role))).collect();
    fanout.tell_partners(&lost, |id| Event::Changed { id, binding: Binding::Lost })
}
