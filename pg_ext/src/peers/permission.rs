//! Which tunnels a session may open: roles, grants and policies.

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::{
    error::Error,
    order::turn::Turn,
    peers::batch::{TunnelRequest, tunnel_parameters},
    pg::statement::rows,
};

/// Joins what decides whether tunnels are allowed to a query of tunnels `q(src, dst)` and the rows `sp` of their sources in the
/// table of peers. An end has an identity (`si`, `di`), or it came with a key (`sk`, `dk`). Rows of peers are found by id
/// alone: with a condition on the key the planner would use the index of keys, and compare each entry with all peers that have
/// one.
macro_rules! tunnel_ends {
    () => {
        "
    LEFT JOIN tailnet_private.identities si ON si.id = q.src
    LEFT JOIN tailnet_private.keys sk ON sk.id = sp.key_id
    LEFT JOIN tailnet_private.networks n ON n.id = coalesce(si.network_id, sk.network_id)
    LEFT JOIN tailnet_private.identities di ON di.id = q.dst
    LEFT JOIN tailnet_private.peers dp ON dp.id = q.dst
    LEFT JOIN tailnet_private.keys dk ON dk.id = dp.key_id"
    };
}
pub(crate) use tunnel_ends;

/// The rule by which a peer of one role may reach one of another in the network `n`, as text for people; NULL: none. `granted`
/// says whether there is a grant, and `pairs` are the pairs of a tag of the source and one of the destination: a subquery that
/// is not merged, so that each pair is looked up in the index of policies. There are at most 256.
macro_rules! role_rule {
    (source_role = $source_role:literal, destination_role = $destination_role:literal,
     granted = $granted:literal, pairs = $pairs:literal) => {
        concat!(
            "
        CASE WHEN ",
            $source_role,
            " = 'hub' THEN 'a hub reaches all peers of its network'
             WHEN ",
            $source_role,
            " <> 'client' OR ",
            $destination_role,
            " = 'hub' THEN NULL
             WHEN n.clients_reach_all_agents AND ",
            $destination_role,
            " = 'agent' THEN 'clients of the network reach all agents'
             WHEN ",
            $granted,
            " THEN 'a grant'
             ELSE (
                SELECT 'policy ' || coalesce(
                    (SELECT y.name FROM tailnet_private.policies y
                     WHERE y.network_id = n.id AND y.source_tag = t.source AND y.destination_tag = t.destination),
                    (SELECT y.name FROM tailnet_private.policies y
                     WHERE y.network_id = n.id AND t.source = t.destination
                       AND y.source_tag = pg_catalog.split_part(t.source, '=', 1) || '=*'
                       AND y.destination_tag = pg_catalog.split_part(t.source, '=', 1) || '=*'
                       AND pg_catalog.strpos(t.source, '=') > 0)) AS rule
                FROM (",
            $pairs,
            " OFFSET 0) t
                ORDER BY rule LIMIT 1)
        END"
        )
    };
}
pub(crate) use role_rule;

/// The rule by which a tunnel is allowed, as text for people; NULL: none. A peer of another network is treated like one that
/// does not exist, so that nobody learns of it.
macro_rules! tunnel_rule {
    () => {
        concat!(
            "(
        CASE WHEN q.src = q.dst OR coalesce(di.network_id, dk.network_id) IS DISTINCT FROM n.id
                  OR coalesce(si.revoked_at, sk.ended_at, di.revoked_at, dk.ended_at) IS NOT NULL
                  OR coalesce(least(si.expires_at, sk.expires_at, di.expires_at, dk.expires_at)
                              <= pg_catalog.clock_timestamp(), false)
             THEN NULL
             ELSE ",
            $crate::peers::permission::role_rule!(
                source_role = "coalesce(si.role, sk.role)",
                destination_role = "coalesce(di.role, dk.role)",
                granted =
                    "EXISTS (SELECT FROM tailnet_private.grants g WHERE g.client_id = q.src AND g.agent_id = q.dst)",
                pairs = "
                    SELECT st.tag AS source, dt.tag AS destination
                    FROM tailnet_private.tags st, tailnet_private.tags dt
                    WHERE st.owner_id = coalesce(si.id, sk.id) AND dt.owner_id = coalesce(di.id, dk.id)"
            ),
            "
        END)"
        )
    };
}
pub(crate) use tunnel_rule;

/// The requests of current sessions, whether each is allowed, and whether that cannot be known: a crash has emptied the tables, and
/// the other end may have come with a key and not be restored yet.
const JUDGE: &str = concat!(
    "
    SELECT q.ord, ",
    tunnel_rule!(),
    " IS NOT NULL,
           di.id IS NULL AND dp.id IS NULL AND coalesce(si.role, sk.role) <> 'agent'
               AND NOT EXISTS (SELECT FROM tailnet_private.restoration)
    FROM unnest($2, $3, $4) WITH ORDINALITY q(src, session, dst, ord)
    JOIN tailnet_private.peers sp ON sp.id = q.src AND sp.session = q.session AND sp.coordinator_id IS NOT DISTINCT FROM $1",
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
    /// Those of the refused whose other end may not be restored yet.
    pub unknown: Vec<(Uuid, Uuid)>,
}

/// Judges requests to open tunnels.
pub fn judge(turn: &Turn, batch: &[TunnelRequest]) -> Result<Judged, Error> {
    let mut judged = Judged::default();
    if batch.is_empty() {
        return Ok(judged);
    }
    let found = rows(JUDGE, &tunnel_parameters(turn, batch), |row| {
        Ok((row.place(1)?, row.get::<bool>(2)?, row.maybe::<bool>(3)?.unwrap_or(false)))
    })?;
    for (place, allowed, unknown) in found {
        let request = batch[place];
        let tunnel = (request.src.peer, request.dst);
        if allowed {
            judged.allowed.insert(tunnel);
        } else {
            judged.refused.push(request);
            judged.unknown.extend(unknown.then_some(tunnel));
        }
    }
    Ok(judged)
}
