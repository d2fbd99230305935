//! Revocations: an operator takes away a peer's access or a grant, also from sessions that are connected.

use std::collections::HashMap;

use pgrx::prelude::*;
use tailnet_wire::{Ending, Event};
use uuid::Uuid;

use crate::{
    error::{Error, raise_error},
    order::{fanout::Fanout, membership::Membership, turn::take_as_operator},
    peers::{session_end::remove, tunnel_events::tell_closed},
    pg::{
        statement::{rows, run},
        uuids::{from_pg, to_pg},
    },
};

const REVOKE: &str = "
    UPDATE tailnet_private.identities i SET revoked_at = pg_catalog.clock_timestamp()
    WHERE i.id = $1 AND i.revoked_at IS NULL";

const LIVE: &str = "
    SELECT p.session, p.coordinator_id FROM tailnet_private.peers p
    WHERE p.id = $1 AND p.coordinator_id IS NOT NULL";

const CLOSE_INBOUND: &str = "DELETE FROM tailnet_private.tunnels t WHERE t.dst = $1 RETURNING t.src, t.dst";

const TAKE_BACK: &str = "DELETE FROM tailnet_private.grants g WHERE g.client_id = $1 AND g.agent_id = $2";

/// In a network where clients reach all agents, a tunnel needs no grant and stays open.
const CLOSE_GRANTED: &str = "
    DELETE FROM tailnet_private.tunnels t
    USING tailnet_private.identities i, tailnet_private.networks n
    WHERE t.src = $1 AND t.dst = $2 AND i.id = t.src AND n.id = i.network_id AND NOT n.clients_reach_all_agents
    RETURNING t.src, t.dst";

#[pg_extern]
fn revoke_peer(peer: Option<pgrx::Uuid>) -> bool {
    raise_error(|| {
        let id = from_pg(peer.ok_or(Error::NullArgument("peer", "the id of a peer"))?);
        let memberships = lock(&[id])?;
        if run(REVOKE, &[to_pg(id).into()])? == 0 {
            return Ok(false);
        }
        let mut fanout = Fanout::default();
        for (session, coordinator) in rows(LIVE, &[to_pg(id).into()], |row| Ok((row.get(1)?, row.id(2)?)))? {
            fanout.tell(coordinator, &Event::Ended { id, session, why: Ending::Revoked });
        }
        remove(&mut fanout, &[(id, memberships[&id].role)])?;
        // Tunnels to this peer would wait for it, and it never returns.
        let inbound = rows(CLOSE_INBOUND, &[to_pg(id).into()], |row| Ok((row.id(1)?, row.id(2)?)))?;
        tell_closed(&mut fanout, &inbound)?;
        fanout.send()?;
        Ok(true)
    })
}

#[pg_extern]
fn revoke_tunnel(client: Option<pgrx::Uuid>, agent: Option<pgrx::Uuid>) -> bool {
    raise_error(|| {
        let client = from_pg(client.ok_or(Error::NullArgument("client", "the id of a client"))?);
        let agent = from_pg(agent.ok_or(Error::NullArgument("agent", "the id of an agent"))?);
        lock(&[client, agent])?;
        if run(TAKE_BACK, &[to_pg(client).into(), to_pg(agent).into()])? == 0 {
            return Ok(false);
        }
        let closed =
            rows(CLOSE_GRANTED, &[to_pg(client).into(), to_pg(agent).into()], |row| Ok((row.id(1)?, row.id(2)?)))?;
        let mut fanout = Fanout::default();
        tell_closed(&mut fanout, &closed)?;
        fanout.send()?;
        Ok(true)
    })
}

/// Waits for an operator's turn for peers that must exist.
fn lock(peers: &[Uuid]) -> Result<HashMap<Uuid, Membership>, Error> {
    let memberships = take_as_operator(peers)?;
    match peers.iter().find(|id| !memberships.contains_key(id)) {
        Some(id) => Err(Error::UnknownPeer(*id)),
        None => Ok(memberships),
    }
}
