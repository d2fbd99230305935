//! Which tunnels a session may open: roles and grants.

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::{
    error::Error,
    order::turn::Turn,
    peers::batch::{TunnelRequest, tunnel_parameters},
    pg::statement::rows,
};

/// Whether a tunnel is allowed, as an expression over the identities of its ends (`s` and `d`) and their network (`n`). A
/// peer of another network is treated like one that does not exist, so that nobody learns of it.
macro_rules! tunnel_rule {
    () => {
        "(
        s.revoked_at IS NULL AND d.revoked_at IS NULL AND d.network_id = s.network_id AND d.id <> s.id
        AND (s.role = 'hub'
             OR s.role = 'client' AND d.role = 'agent' AND (
                 n.clients_reach_all_agents
                 OR EXISTS (SELECT FROM tailnet_private.grants g WHERE g.client_id = s.id AND g.agent_id = d.id))))"
    };
}
pub(crate) use tunnel_rule;

/// The requests of current sessions, and whether each is allowed.
const JUDGE: &str = concat!(
    "
    SELECT q.ord, d.id IS NOT NULL AND ",
    tunnel_rule!(),
    "
    FROM unnest($2, $3, $4) WITH ORDINALITY q(src, session, dst, ord)
    JOIN tailnet_private.peers p ON p.id = q.src AND p.session = q.session AND p.coordinator_id IS NOT DISTINCT FROM $1
    JOIN tailnet_private.identities s ON s.id = q.src
    JOIN tailnet_private.networks n ON n.id = s.network_id
    LEFT JOIN tailnet_private.identities d ON d.id = q.dst
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
