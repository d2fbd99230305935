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

/// Those of the tunnels that nothing allows. The subquery is not merged, so each source is looked up by its id.
const FORBIDDEN: &str = concat!(
    "
    SELECT q.src, q.dst
    FROM unnest($1, $2) q(src, dst)
    CROSS JOIN LATERAL (SELECT p.key_id FROM tailnet_private.peers p WHERE p.id = q.src OFFSET 0) sp",
    tunnel_ends!(),
    "
    WHERE ",
    tunnel_rule!(),
    " IS NULL"
);

const INBOUND: &str = "
    SELECT u.src, u.dst FROM unnest($1) q(id) JOIN tailnet_private.tunnels u ON u.dst = q.id";

const CLOSE: &str = "
    DELETE FROM tailnet_private.tunnels t USING unnest($1, $2) q(src, dst) WHERE t.src = q.src AND t.dst = q.dst
    RETURNING t.src, t.dst";

/// Closes those of the tunnels that nothing allows, and tells both ends. The caller holds the locks of their networks.
pub fn close(fanout: &mut Fanout, tunnels: &[(Uuid, Uuid)]) -> Result<(), Error> {
    let forbidden = run_on(FORBIDDEN, tunnels)?;
    let closed = run_on(CLOSE, &forbidden)?;
    tell_closed(fanout, &closed)
}

/// Does this for all tunnels that lead to these peers.
pub fn close_inbound(fanout: &mut Fanout, peers: &[Uuid]) -> Result<(), Error> {
    let tunnels = rows(INBOUND, &[uuid_array(peers.iter().copied()).into()], |row| Ok((row.id(1)?, row.id(2)?)))?;
    close(fanout, &tunnels)
}

/// Runs a statement on tunnels, which returns some of them.
fn run_on(sql: &'static str, tunnels: &[(Uuid, Uuid)]) -> Result<Vec<(Uuid, Uuid)>, Error> {
    if tunnels.is_empty() {
        return Ok(Vec::new());
    }
    let (srcs, dsts): (Vec<_>, Vec<_>) = tunnels.iter().copied().unzip();
    rows(sql, &[uuid_array(srcs).into(), uuid_array(dsts).into()], |row| Ok((row.id(1)?, row.id(2)?)))
}
