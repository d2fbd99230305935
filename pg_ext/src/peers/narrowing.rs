//! Sessions that may have a tunnel to one peer only: their connection came in on a path that names it.

use std::collections::HashMap;

use tailnet_wire::SessionId;
use uuid::Uuid;

use crate::{
    error::Error,
    order::turn::Turn,
    peers::tunnel_events::tell_closed,
    pg::{
        arguments::{self, Array},
        statement::rows,
        uuids::{from_pg, uuid_array},
    },
};

const CLOSE_OTHERS: &str = "
    DELETE FROM tailnet_private.tunnels t
    USING unnest($1, $2) q(src, kept)
    WHERE t.src = q.src AND t.dst <> q.kept
    RETURNING t.src, t.dst";

/// The only peer that each session may have a tunnel to, for those that have such a limit. Reads the argument: without it no
/// session has one.
pub fn limits(only_dsts: Array<pgrx::Uuid>, batch: &[SessionId]) -> Result<HashMap<SessionId, Uuid>, Error> {
    let Some(only) = only_dsts else { return Ok(HashMap::new()) };
    let only = arguments::elements("only_dsts", Some(only))?;
    arguments::same_length("peers", batch, "only_dsts", &only)?;
    Ok(batch.iter().zip(only).filter_map(|(session, only)| Some((*session, from_pg(only?)))).collect())
}

/// Closes the tunnels that the peers of these sessions have to others: an older session opened them.
pub fn close_others(turn: &mut Turn, attached: &[SessionId], limits: &HashMap<SessionId, Uuid>) -> Result<(), Error> {
    if limits.is_empty() {
        return Ok(());
    }
    let limited = attached.iter().filter_map(|session| Some((session.peer, *limits.get(session)?)));
    let (srcs, only): (Vec<_>, Vec<_>) = limited.unzip();
    let closed =
        rows(CLOSE_OTHERS, &[uuid_array(srcs).into(), uuid_array(only).into()], |row| Ok((row.id(1)?, row.id(2)?)))?;
    tell_closed(&mut turn.fanout, &closed)
}
