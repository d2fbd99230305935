//! Bindings: the node that each peer announced last.

use std::collections::{BTreeMap, HashMap};

use pgrx::{datum::JsonString, prelude::*};
use tailnet_wire::{Binding, Digest, Event, Node, NodeError, Refusal, Role, SessionId};
use uuid::Uuid;

use crate::{
    error::{Error, raise_error},
    order::turn::Turn,
    peers::batch::sessions,
    pg::{
        arguments::{self, Array},
        named_relation::{Column, NamedRelation},
        statement::{Row, rows_from},
        uuids::to_pg,
    },
};

/// A node that says the same as the one before writes no row, and nobody is told of it.
const BIND: &str = "
    UPDATE tailnet_private.peers p SET
        node = q.node, digest = q.digest, status = 'ok', updated_at = pg_catalog.clock_timestamp()
    FROM bindings q
    WHERE p.id = q.id AND p.session = q.session AND p.coordinator_id IS NOT DISTINCT FROM $1
      AND (p.status IS DISTINCT FROM 'ok' OR p.digest IS DISTINCT FROM q.digest)
    RETURNING p.id";

/// The columns of `bindings` in the statement.
const COLUMNS: &[Column<(SessionId, (Digest, Node))>] = &[
    Column::uuid(c"id", |(session, _)| Some(&session.peer)),
    Column::int8(c"session", |(session, _)| Some(session.number)),
    Column::int8(c"digest", |(_, (digest, _))| Some(digest.0)),
    Column::json(c"node", |(_, (_, node))| Some(node.as_str())),
];

#[pg_extern]
fn bind_peers(
    registration: Option<pgrx::Uuid>,
    peers: Array<pgrx::Uuid>,
    sessions: Array<i64>,
    nodes: Array<String>,
) -> i32 {
    raise_error(|| {
        let batch = self::sessions(peers, sessions)?;
        let nodes = arguments::values("nodes", nodes)?;
        arguments::same_length("peers", &batch, "nodes", &nodes)?;
        let mut batch = batch.into_iter().zip(nodes).collect();
        let mut turn = Turn::take(registration, &mut batch, |(session, _)| session.peer)?;
        let bound = bind(&mut turn, batch)?;
        turn.end(bound)
    })
}

/// Stores the nodes of current sessions, and tells their partners what changed. If the batch has two nodes of a session,
/// the last one counts.
pub fn bind(turn: &mut Turn, batch: impl IntoIterator<Item = (SessionId, String)>) -> Result<usize, Error> {
    let mut checked = BTreeMap::new();
    for (session, text) in batch {
        let Some(membership) = turn.memberships.get(&session.peer) else { continue };
        match check(session.peer, membership.role, text) {
            Ok(node) => {
                checked.insert(session, node);
            }
            Err(error) => turn.refuse(session, Refusal::Node(error)),
        }
    }
    let checked: Vec<_> = checked.into_iter().collect();
    let bindings = NamedRelation::new(c"bindings", COLUMNS, &checked);
    let changed = rows_from(&bindings, BIND, &[to_pg(turn.coordinator).into()], |row| row.id(1))?;
    let nodes: HashMap<Uuid, _> = checked.into_iter().map(|(session, node)| (session.peer, node)).collect();
    let about: Vec<_> = changed.iter().map(|id| (*id, turn.role(*id))).collect();
    turn.fanout.tell_partners(&about, |id| {
        let (digest, node) = nodes[&id].clone();
        Event::Changed { id, binding: Binding::Ok { digest, node } }
    })?;
    Ok(changed.len())
}

fn check(peer: Uuid, role: Role, text: String) -> Result<(Digest, Node), NodeError> {
    let node = Node::new(text).map_err(|error| NodeError::Form(error.to_string()))?;
    let fields = node.fields()?;
    fields.check(role, peer)?;
    Ok((fields.digest(), node))
}

/// Reads a binding from three columns of a row: status, digest, node. None: the peer never announced a node.
pub fn from_row(row: &Row<'_>, first: usize) -> Result<Option<Binding>, Error> {
    match row.maybe::<String>(first)?.as_deref() {
        None => Ok(None),
        Some("lost") => Ok(Some(Binding::Lost)),
        Some(_) => {
            let JsonString(text) = row.get(first + 2)?;
            let node = Node::new(text).map_err(|error| Error::Corrupt(format!("node ({error})")))?;
            Ok(Some(Binding::Ok { digest: Digest(row.get(first + 1)?), node }))
        }
    }
}
