//! Tunnels are judged again: those of a peer, of the peers of a key, of clients with a tag, and of the clients of a network. What
//! names many peers is first cut into rows that name one each.

use uuid::Uuid;

use crate::{
    error::Error,
    order::{fanout::Fanout, locks::lock_networks, turn::take_as_operator},
    peers::forbidden_tunnels,
    pg::{
        statement::rows,
        uuids::{to_pg, uuid_array},
    },
    withdrawals::pending::{self, Direction},
};

/// The tunnels of peers whose other ends come after a peer, in this order, at most so many over all peers.
macro_rules! tunnels_of {
    ($own:literal, $other:literal) => {
        concat!(
            "
    SELECT q.ord, t.src, t.dst
    FROM unnest($1, $2) WITH ORDINALITY q(id, after, ord)
    CROSS JOIN LATERAL (
        SELECT u.src, u.dst FROM tailnet_private.tunnels u
        WHERE u.",
            $own,
            " = q.id AND u.",
            $other,
            " > q.after ORDER BY u.",
            $other,
            " LIMIT $3
    ) t
    ORDER BY q.ord, t.",
            $other,
            " LIMIT $3"
        )
    };
}

const OUTBOUND: &str = tunnels_of!("src", "dst");

const INBOUND: &str = tunnels_of!("dst", "src");

const PEERS_OF_KEY: &str = "
    SELECT p.id FROM tailnet_private.peers p WHERE p.key_id = $1 AND p.id > $2 ORDER BY p.id LIMIT $3";

/// The owners of a tag, or of all values of a word; each with whether it is a key.
const OWNERS: &str = "
    SELECT t.tag, t.owner_id, (SELECT k.id FROM tailnet_private.keys k WHERE k.id = t.owner_id) IS NOT NULL
    FROM tailnet_private.tags t
    WHERE t.network_id = $1 AND t.tag >= $2 AND t.tag <= $3 AND (t.tag, t.owner_id) > ($4, $5)
    ORDER BY t.tag, t.owner_id LIMIT $6";

/// A page of all peers: those of other networks are passed over.
const PEERS: &str = "
    SELECT p.id, p.network_id = $1 AND p.role = 'client'
    FROM tailnet_private.peers p WHERE p.id > $2 ORDER BY p.id LIMIT $3";

/// One row about the tunnels of a peer.
#[derive(Debug, Clone, Copy)]
pub struct Tunnels {
    pub row: i64,
    pub peer: Uuid,
    pub after: Uuid,
}

/// Judges at most so many tunnels of peers, and closes those that nothing allows. The rows whose tunnels are all judged are done.
pub fn judge(fanout: &mut Fanout, direction: Direction, batch: &[Tunnels], most: i64) -> Result<(), Error> {
    take_as_operator(&batch.iter().map(|tunnels| tunnels.peer).collect::<Vec<_>>())?;
    let peers = uuid_array(batch.iter().map(|tunnels| tunnels.peer));
    let afters = uuid_array(batch.iter().map(|tunnels| tunnels.after));
    let sql = match direction {
        Direction::Outbound => OUTBOUND,
        Direction::Inbound => INBOUND,
    };
    let found =
        rows(sql, &[peers.into(), afters.into(), most.into()], |row| Ok((row.place(1)?, row.id(2)?, row.id(3)?)))?;
    let tunnels: Vec<(Uuid, Uuid)> = found.iter().map(|(_, src, dst)| (*src, *dst)).collect();
    forbidden_tunnels::close(fanout, &tunnels)?;
    let full = usize::try_from(most).is_ok_and(|most| found.len() >= most);
    let judged = match found.last() {
        Some((last, src, dst)) if full => {
            let after = if direction == Direction::Outbound { *dst } else { *src };
            pending::advance(batch[*last].row, after, None)?;
            *last
        }
        _ => batch.len(),
    };
    pending::done(batch[..judged].iter().map(|tunnels| tunnels.row).collect())
}

/// Cuts the peers of a key into rows of their own.
pub fn cut_key(row: i64, key: Uuid, inbound: bool, after: Uuid, most: i64) -> Result<(), Error> {
    let peers = rows(PEERS_OF_KEY, &[to_pg(key).into(), to_pg(after).into(), most.into()], |row| row.id(1))?;
    let last = peers.last().copied();
    if inbound {
        pending::note_tunnels(Direction::Inbound, peers.clone())?;
    }
    pending::note_tunnels(Direction::Outbound, peers)?;
    advance_or_finish(row, last, None)
}

/// Cuts the clients with a tag into rows of their own.
pub fn cut_policy(
    row: i64,
    network: Uuid,
    tag: &str,
    (after_tag, after): (String, Uuid),
    most: i64,
) -> Result<(), Error> {
    lock_networks([network]);
    // "word=*" stands for all tags from "word=" up to, and without, "word>": ">" is the byte after "=".
    let (low, high) = match tag.strip_suffix('*') {
        Some(word) => (word.to_owned(), format!("{}>", word.trim_end_matches('='))),
        None => (tag.to_owned(), tag.to_owned()),
    };
    let parameters =
        [to_pg(network).into(), low.into(), high.into(), after_tag.into(), to_pg(after).into(), most.into()];
    let owners = rows(OWNERS, &parameters, |row| Ok((row.get::<String>(1)?, row.id(2)?, row.get::<bool>(3)?)))?;
    let last = owners.last().map(|(tag, owner, _)| (tag.clone(), *owner));
    let (keys, peers): (Vec<_>, Vec<_>) = owners.into_iter().partition(|(_, _, is_key)| *is_key);
    pending::note_tunnels(Direction::Outbound, peers.into_iter().map(|(_, peer, _)| peer).collect())?;
    pending::note_keys(keys.into_iter().map(|(_, key, _)| key).collect())?;
    let (tag, owner) = last.unzip();
    advance_or_finish(row, owner, tag)
}

/// Cuts the clients of a network into rows of their own.
pub fn cut_network(row: i64, network: Uuid, after: Uuid, most: i64) -> Result<(), Error> {
    lock_networks([network]);
    let page = rows(PEERS, &[to_pg(network).into(), to_pg(after).into(), most.into()], |row| {
        Ok((row.id(1)?, row.get::<bool>(2)?))
    })?;
    let last = page.last().map(|(id, _)| *id);
    let clients = page.into_iter().filter(|(_, is_client)| *is_client).map(|(id, _)| id).collect();
    pending::note_tunnels(Direction::Outbound, clients)?;
    advance_or_finish(row, last, None)
}

/// None: nothing is left.
fn advance_or_finish(row: i64, last: Option<Uuid>, tag: Option<String>) -> Result<(), Error> {
    match last {
        Some(last) => pending::advance(row, last, tag),
        None => pending::done(vec![row]),
    }
}
