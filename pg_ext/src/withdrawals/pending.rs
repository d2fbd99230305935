//! The rows of what is pending.

use tailnet_wire::SessionId;
use uuid::Uuid;

use crate::{
    error::Error,
    pg::{
        statement::{Row, rows, run},
        uuids::{to_pg, uuid_array},
    },
};

const NOTE: &str = "
    INSERT INTO tailnet_private.pending (kind, peer_id, dst_id, key_id, token_number) VALUES ($1, $2, $3, $4, $5)";

const OLDEST: &str = "
    SELECT w.id, w.kind, w.peer_id, w.dst_id, w.key_id, w.token_number, w.network_id, w.tag, w.after_tag, w.after_id,
           w.session
    FROM tailnet_private.pending w
    ORDER BY w.id LIMIT $1";

const DONE: &str = "DELETE FROM tailnet_private.pending w USING unnest($1) q(id) WHERE w.id = q.id";

const MOVE: &str = "UPDATE tailnet_private.pending w SET after_id = $2, after_tag = $3 WHERE w.id = $1";

const ADD: &str = "
    INSERT INTO tailnet_private.pending (kind, peer_id, after_id)
    SELECT $1, q.id, '00000000-0000-0000-0000-000000000000' FROM unnest($2) q(id)";

const ADD_KEYS: &str = "
    INSERT INTO tailnet_private.pending (kind, key_id, after_id)
    SELECT 'key_outbound', q.id, '00000000-0000-0000-0000-000000000000' FROM unnest($1) q(id)";

/// Which tunnels of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// That it opened.
    Outbound,
    /// That lead to it.
    Inbound,
}

/// What is to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Withdrawal {
    /// The session and the tunnels of a peer that may not connect any more.
    Peer(Uuid),
    /// This session of a peer. The peer may connect again.
    Session(SessionId),
    /// All of a network that is deleted: the peers after one, and then its rows.
    NetworkEnd { network: Uuid, after: Uuid },
    /// A tunnel, if nothing else allows it.
    Tunnel { src: Uuid, dst: Uuid },
    /// The tunnels of a peer whose other end comes after a peer, those that nothing allows.
    Tunnels { peer: Uuid, direction: Direction, after: Uuid },
    /// All peers of a key.
    Key(Uuid),
    /// The peers of a key whose newest session came with this token.
    Token { key: Uuid, number: i32 },
    /// The tunnels of the peers of a key after a peer: those that they opened, and also those that lead to them.
    KeyTunnels { key: Uuid, inbound: bool, after: Uuid },
    /// The tunnels that clients with a tag have opened: the owners of the tag that come after a tag and an owner.
    Policy { network: Uuid, tag: String, after: (String, Uuid) },
    /// The tunnels that the clients of a network have opened: the peers after one.
    Network { network: Uuid, after: Uuid },
    /// Nothing ends: the proxies are to be told of a DERP map; None: of that of all networks.
    DerpMap(Option<Uuid>),
}

/// One row.
#[derive(Debug, Clone)]
pub struct Pending {
    pub id: i64,
    pub what: Withdrawal,
}

/// Notes what is to end, of the kinds that need no search. The caller holds the locks of the networks, and has written why.
pub fn note(what: Withdrawal) -> Result<(), Error> {
    let (kind, peer, dst, key, token) = match what {
        Withdrawal::Peer(peer) => ("peer", Some(peer), None, None, None),
        Withdrawal::Tunnel { src, dst } => ("tunnel", Some(src), Some(dst), None, None),
        Withdrawal::Key(key) => ("key", None, None, Some(key), None),
        Withdrawal::Token { key, number } => ("token", None, None, Some(key), Some(number)),
        other => unreachable!("SQL notes {other:?}"),
    };
    let [peer, dst, key] = [peer, dst, key].map(|id| id.map(to_pg));
    run(NOTE, &[kind.to_owned().into(), peer.into(), dst.into(), key.into(), token.into()]).map(drop)
}

/// The tunnels of these peers are to be judged.
pub fn note_tunnels(direction: Direction, peers: Vec<Uuid>) -> Result<(), Error> {
    if peers.is_empty() {
        return Ok(());
    }
    let kind = match direction {
        Direction::Outbound => "outbound",
        Direction::Inbound => "inbound",
    };
    run(ADD, &[kind.to_owned().into(), uuid_array(peers).into()]).map(drop)
}

/// The tunnels that the peers of these keys have opened are to be judged.
pub fn note_keys(keys: Vec<Uuid>) -> Result<(), Error> {
    if keys.is_empty() {
        return Ok(());
    }
    run(ADD_KEYS, &[uuid_array(keys).into()]).map(drop)
}

/// The oldest rows, at most so many.
pub fn oldest(most: i64) -> Result<Vec<Pending>, Error> {
    rows(OLDEST, &[most.into()], read)
}

/// Deletes rows: all that they name has ended.
pub fn done(ids: Vec<i64>) -> Result<(), Error> {
    if ids.is_empty() {
        return Ok(());
    }
    run(DONE, &[ids.into()]).map(drop)
}

/// Notes how far a row has come.
pub fn advance(id: i64, after: Uuid, after_tag: Option<String>) -> Result<(), Error> {
    run(MOVE, &[id.into(), to_pg(after).into(), after_tag.into()]).map(drop)
}

fn read(row: &Row<'_>) -> Result<Pending, Error> {
    let kind: String = row.get(2)?;
    let tunnels = |direction| Ok::<_, Error>(Withdrawal::Tunnels { peer: row.id(3)?, direction, after: row.id(10)? });
    let key_tunnels = |inbound| Ok::<_, Error>(Withdrawal::KeyTunnels { key: row.id(5)?, inbound, after: row.id(10)? });
    let what = match kind.as_str() {
        "peer" => Withdrawal::Peer(row.id(3)?),
        "session" => Withdrawal::Session(SessionId { peer: row.id(3)?, number: row.get(11)? }),
        "network_end" => Withdrawal::NetworkEnd { network: row.id(7)?, after: row.id(10)? },
        "tunnel" => Withdrawal::Tunnel { src: row.id(3)?, dst: row.id(4)? },
        "outbound" => tunnels(Direction::Outbound)?,
        "inbound" => tunnels(Direction::Inbound)?,
        "key" => Withdrawal::Key(row.id(5)?),
        "token" => Withdrawal::Token { key: row.id(5)?, number: row.get(6)? },
        "key_tunnels" => key_tunnels(true)?,
        "key_outbound" => key_tunnels(false)?,
        "policy" => Withdrawal::Policy { network: row.id(7)?, tag: row.get(8)?, after: (row.get(9)?, row.id(10)?) },
        "network" => Withdrawal::Network { network: row.id(7)?, after: row.id(10)? },
        "derp_map" => Withdrawal::DerpMap(row.maybe_id(7)?),
        _ => return Err(Error::Corrupt(format!("kind {kind}"))),
    };
    Ok(Pending { id: row.get(1)?, what })
}
