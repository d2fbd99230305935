//! Tunnels that nothing allows any more are closed.

use uuid::Uuid;

use crate::{
    error::Error,
    order::fanout::Fanout,
    peers::{
        permission::{tunnel_ends, tunnel_rule},
        tunnel_events::tell_closed,
    },
    pg::{statement::rows, uuids::uuid_array},
};

const CLOSE_FORBIDDEN: &str = concat!(
    "
    DELETE FROM tailnet_private.tunnels t
    USING (
        SELECT q.src, q.dst
        FROM unnest($1, $2) q(src, dst)
        JOIN tailnet_private.peers p ON p.id = q.src",
    tunnel_ends!(),
    "
        WHERE ",
    tunnel_rule!(),
    " IS NOT TRUE
    ) f
    WHERE t.src = f.src AND t.dst = f.dst
    RETURNING t.src, t.dst"
);

/// Closes those of the tunnels that nothing allows, and tells both ends. The caller holds the locks of their networks.
pub fn close(fanout: &mut Fanout, tunnels: &[(Uuid, Uuid)]) -> Result<(), Error> {
    if tunnels.is_empty() {
        return Ok(());
    }
    let (srcs, dsts): (Vec<_>, Vec<_>) = tunnels.iter().copied().unzip();
    let closed =
        rows(CLOSE_FORBIDDEN, &[uuid_array(srcs).into(), uuid_array(dsts).into()], |row| Ok((row.id(1)?, row.id(2)?)))?;
    tell_closed(fanout, &closed)
}
