//! Which tunnels a session may open: roles, grants, and whether both ends are good.

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::{
    error::Error,
    order::turn::Turn,
    peers::batch::{TunnelRequest, tunnel_parameters},
    pg::statement::rows,
};

/// Joins what decides whether tunnels are allowed to a query of tunnels `q(src, dst)` and the rows `p` of their sources. An end
/// has an identity (`si`, `di`), or it came with a key (`sk`, `dk`). Rows of peers are found by id alone: with a condition on
/// the key the planner would use the index of keys, and compare each entry with all peers that have one.
macro_rules! tunnel_ends {
    () => {
        "
    JOIN tailnet_private.networks n ON n.id = p.network_id
    LEFT JOIN tailnet_private.identities si ON si.id = p.id
    LEFT JOIN tailnet_private.keys sk ON sk.id = p.key_id
    LEFT JOIN tailnet_private.identities di ON di.id = q.dst
    LEFT JOIN tailnet_private.peers dp ON dp.id = q.dst
    LEFT JOIN tailnet_private.keys dk ON dk.id = dp.key_id"
    };
}
pub(crate) use tunnel_ends;

/// Whether a tunnel is allowed: true, false or NULL, which is false. A peer of another network is treated like one that does
/// not exist, so that nobody learns of it.
macro_rules! tunnel_rule {
    () => {
        "(
        q.src <> q.dst AND coalesce(di.network_id, dk.network_id) = p.network_id
        AND coalesce(si.revoked_at, sk.ended_at, di.revoked_at, dk.ended_at) IS NULL
        AND (coalesce(least(si.expires_at, sk.expires_at, di.expires_at, dk.expires_at) > pg_catalog.clock_timestamp(), true))
        AND (p.role = 'hub'
             OR p.role = 'client' AND coalesce(di.role, dk.role) = 'agent' AND (
                 n.clients_reach_all_agents
                 OR EXISTS (SELECT FROM tailnet_private.grants g WHERE g.client_id = p.id AND g.agent_id = q.dst))))"
    };
}
pub(crate) use tunnel_rule;

/// The requests of current sessions, and whether each is allowed.
const JUDGE: &str = concat!(
    "
    SELECT q.ord, ",
    tunnel_rule!(),
    " IS TRUE
    FROM unnest($2, $3, $4) WITH ORDINALITY q(src, session, dst, ord)
    JOIN tailnet_private.peers p ON p.id = q.src AND p.session = q.session AND p.coordinator_id IS NOT DISTINCT FROM $1",
    tunnel_ends!(),
    "
    ORDER BY q.ord"
);

/// What current sessions ask. Requests of other sessions are in neither list.
#[derive(Default)]
pub struct Judged {
    /// Source and destination of each tunnel that may be opened.
    pub allowed: BTreeSet<(Uuid, Uuid)>,
    pub refused: Vec<TunnelRequest>,
}

/// Judges requests to open tunnels.
pub fn judge(turn: &Turn, batch: &[TunnelRequest]) -> Result<Judged, Error> {
    let mut judged = Judged::default();
    if batch.is_empty() {
        return Ok(judged);
    }
    for (place, allowed) in rows(JUDGE, &tunnel_parameters(turn, batch), |row| Ok((row.place(1)?, row.get(2)?)))? {
        let request = batch[place];
        if allowed {
            judged.allowed.insert((request.src.peer, request.dst));
        } else {
            judged.refused.push(request);
        }
    }
    Ok(judged)
}
