//! Bindings: peer to node.

use std::collections::{BTreeMap, HashMap};

use pgrx::{datum::JsonString, pg_sys, prelude::*};
use tailnet_wire::{Binding, Digest, Event, Node, NodeError, Refusal, SessionId};
use uuid::Uuid;

use crate::{
    array::{self, Array, to_pg},
    error::{Error, raise_error},
    relation::{Column, Relation, Value},
    session::sessions,
    statement::{Row, rows_from},
    turn::{Identity, Turn},
};

/// Only what changes is written: a node that says the same as before touches nothing and tells nobody.
const BIND: &str = "
    UPDATE tailnet_private.peers p SET
        node = q.node, digest = q.digest, status = 'ok', updated_at = pg_catalog.clock_timestamp()
    FROM bindings q
    WHERE p.id = q.id AND p.session = q.session AND p.coordinator_id IS NOT DISTINCT FROM $1
      AND (p.status IS DISTINCT FROM 'ok' OR p.digest IS DISTINCT FROM q.digest)
    RETURNING p.id";

/// Of `bindings` in the statement.
const COLUMNS: [Column; 4] =
    [(c"id", pg_sys::UUIDOID), (c"session", pg_sys::INT8OID), (c"digest", pg_sys::INT8OID), (c"node", pg_sys::JSONOID)];

#[pg_extern]
fn bind_peers(
    registration: Option<pgrx::Uuid>,
    peers: Array<pgrx::Uuid>,
    sessions: Array<i64>,
    nodes: Array<String>,
) -> i32 {
    raise_error(|| {
        let batch = self::sessions(peers, sessions)?;
        let nodes = array::values("nodes", nodes)?;
        array::same_length("peers", &batch, "nodes", &nodes)?;
        let mut batch = batch.into_iter().zip(nodes).collect();
        let mut turn = Turn::take(registration, &mut batch, |(session, _)| session.peer)?;
        let bound = bind(&mut turn, batch)?;
        turn.end(bound)
    })
}

/// Binds nodes to the sessions that are current, and tells partners of what changed. A session that is named twice ends
/// on its last node.
pub fn bind(turn: &mut Turn, batch: impl IntoIterator<Item = (SessionId, String)>) -> Result<usize, Error> {
    let mut checked = BTreeMap::new();
    for (session, text) in batch {
        let Some(identity) = turn.identities.get(&session.peer) else { continue };
        match check(session.peer, *identity, text) {
            Ok(node) => {
                checked.insert(session, node);
            }
            Err(error) => turn.refuse(session, Refusal::Node(error)),
        }
    }
    let mut bindings = Relation::new(c"bindings", &COLUMNS);
    for (session, (digest, node)) in &checked {
        bindings.push([
            Value::Id(&session.peer),
            Value::Datum(session.number.into()),
            Value::Datum(digest.0.into()),
            Value::Text(node.as_str()),
        ]);
    }
    let changed = rows_from(&bindings, BIND, &[to_pg(turn.coordinator).into()], |row| row.id(1))?;
    let nodes: HashMap<Uuid, _> = checked.into_iter().map(|(session, node)| (session.peer, node)).collect();
    let about: Vec<_> = changed.iter().map(|id| (*id, turn.role(*id))).collect();
    turn.fanout.tell_partners(&about, |id| {
        let (digest, node) = nodes[&id].clone();
        Event::Changed { id, binding: Binding::Ok { digest, node } }
    })?;
    Ok(changed.len())
}

fn check(peer: Uuid, identity: Identity, text: String) -> Result<(Digest, Node), NodeError> {
    let node = Node::new(text).map_err(|error| NodeError::Form(error.to_string()))?;
    let fields = node.fields()?;
    fields.check(identity.role, peer)?;
    Ok((fields.digest(), node))
}

/// A binding in three columns of a row: status, digest, node. None: the peer never announced a node.
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
