//! Revocations: an operator takes away a peer's access, or a grant.

use pgrx::prelude::*;
use uuid::Uuid;

use crate::{
    error::{Error, raise_error},
    order::{
        locks::{lock_networks, prepare},
        turn::take_as_operator,
    },
    pg::{
        statement::{rows, run},
        uuids::{from_pg, to_pg},
    },
    withdrawals::pending::{Withdrawal, note},
};

const REVOKE: &str = "
    UPDATE tailnet_private.identities i SET revoked_at = pg_catalog.clock_timestamp()
    WHERE i.id = $1 AND i.revoked_at IS NULL";

const NETWORK_OF_KEY: &str = "SELECT k.network_id FROM tailnet_private.keys k WHERE k.id = $1";

const REVOKE_KEY: &str = "
    UPDATE tailnet_private.keys k SET ended_at = pg_catalog.clock_timestamp()
    WHERE k.id = $1 AND k.ended_at IS NULL";

const TAKE_BACK: &str = "DELETE FROM tailnet_private.grants g WHERE g.client_id = $1 AND g.agent_id = $2";

const CHECK_POLICIES: &str = "
    SELECT tailnet_private.note_policy_check(i.network_id) FROM tailnet_private.identities i WHERE i.id = $1";

#[pg_extern]
fn revoke_peer(peer: Option<pgrx::Uuid>) -> bool {
    raise_error(|| {
        let peer = from_pg(peer.ok_or(Error::NullArgument("peer", "the id of a peer"))?);
        lock(&[peer])?;
        if run(REVOKE, &[to_pg(peer).into()])? == 0 {
            return Ok(false);
        }
        note(Withdrawal::Peer(peer))?;
        Ok(true)
    })
}

#[pg_extern]
fn revoke_key(key: Option<pgrx::Uuid>) -> bool {
    raise_error(|| {
        let key = from_pg(key.ok_or(Error::NullArgument("key", "the id of a key"))?);
        prepare()?;
        let network = rows(NETWORK_OF_KEY, &[to_pg(key).into()], |row| row.id(1))?;
        if network.is_empty() {
            return Err(Error::UnknownKey(key));
        }
        lock_networks(network);
        if run(REVOKE_KEY, &[to_pg(key).into()])? == 0 {
            return Ok(false);
        }
        note(Withdrawal::Key(key))?;
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
        note(Withdrawal::Tunnel { src: client, dst: agent })?;
        run(CHECK_POLICIES, &[to_pg(client).into()])?;
        Ok(true)
    })
}

/// Waits for an operator's turn for peers that must exist.
fn lock(peers: &[Uuid]) -> Result<(), Error> {
    let memberships = take_as_operator(peers)?;
    match peers.iter().find(|id| !memberships.contains_key(id)) {
        Some(id) => Err(Error::UnknownPeer(*id)),
        None => Ok(()),
    }
}
