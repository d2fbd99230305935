//! Networks that are deleted: first their peers end, then their rows go.

use std::collections::HashMap;

use tailnet_wire::Ending;
use uuid::Uuid;

use crate::{
    error::Error,
    order::{
        fanout::Fanout,
        locks::lock_networks,
        membership::{Membership, role_from_row},
    },
    pg::{
        statement::{rows, run},
        uuids::{to_pg, uuid_array},
    },
    withdrawals::{ended_peers, pending},
};

/// A page of all peers: those of other networks are passed over.
const PEERS: &str = "
    SELECT p.id, p.role, p.network_id = $1
    FROM tailnet_private.peers p WHERE p.id > $2 ORDER BY p.id LIMIT $3";

const IDENTITIES: &str = "SELECT i.id FROM tailnet_private.identities i WHERE i.network_id = $1 LIMIT $2";

const DELETE_TAGS: &str = "DELETE FROM tailnet_private.tags t USING unnest($1) q(id) WHERE t.owner_id = q.id";

/// Grants, enrolments and what agents told go with them.
const DELETE_IDENTITIES: &str = "DELETE FROM tailnet_private.identities i USING unnest($1) q(id) WHERE i.id = q.id";

/// What is left when no identity is: of all these a network has few.
const DELETE_NETWORK: [&str; 5] = [
    "DELETE FROM tailnet_private.tags t WHERE t.network_id = $1",
    "DELETE FROM tailnet_private.policies y WHERE y.network_id = $1",
    "DELETE FROM tailnet_private.derp_maps m WHERE m.network_id = $1",
    "DELETE FROM tailnet_private.keys k WHERE k.network_id = $1",
    "DELETE FROM tailnet_private.networks n WHERE n.id = $1",
];

/// Does the next part, and returns how much it was. The row is done when nothing is left. Nothing else in the transaction may lock
/// networks.
pub fn end(row: i64, network: Uuid, after: Uuid, most: i64, page: i64) -> Result<usize, Error> {
    lock_networks([network]);
    let found = rows(PEERS, &[to_pg(network).into(), to_pg(after).into(), page.into()], |row| {
        Ok((row.id(1)?, role_from_row(row, 2)?, row.get::<bool>(3)?))
    })?;
    let Some((last, ..)) = found.last().copied() else { return delete(row, network, most) };
    let bound = usize::try_from(most).unwrap_or(usize::MAX);
    let own = found.into_iter().filter(|(.., is_own)| *is_own).take(bound);
    let memberships: HashMap<_, _> = own.map(|(id, role, _)| (id, Membership { network, role })).collect();
    let ended = memberships.keys().map(|id| (*id, Ending::Revoked)).collect();
    let mut fanout = Fanout::default();
    ended_peers::end(&mut fanout, &ended, &memberships, most)?;
    // Those that are removed are not found again. Those that wait for their last tunnels, and those beyond the bound, are.
    if memberships.is_empty() {
        pending::advance(row, last, None)?;
    }
    fanout.send()?;
    Ok(memberships.len().max(1))
}

fn delete(row: i64, network: Uuid, most: i64) -> Result<usize, Error> {
    let identities = rows(IDENTITIES, &[to_pg(network).into(), most.into()], |row| row.id(1))?;
    if identities.is_empty() {
        for sql in DELETE_NETWORK {
            run(sql, &[to_pg(network).into()])?;
        }
        pending::done(vec![row])?;
        return Ok(1);
    }
    let ids = || uuid_array(identities.iter().copied());
    run(DELETE_TAGS, &[ids().into()])?;
    run(DELETE_IDENTITIES, &[ids().into()])?;
    Ok(identities.len())
}
