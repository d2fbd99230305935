//! Fencing: of two sessions of a peer the one with the higher number is the newer. Once it is attached, nothing that the
//! older one writes has an effect.

use std::cmp::Reverse;

use tailnet_wire::SessionId;

use crate::{
    error::Error,
    order::turn::Turn,
    peers::batch::session_parameters,
    pg::{statement::run, transaction::commit_without_flush},
};

/// A crash empties the table of peers. Afterwards a proxy may try to restore a session, because it does not know yet that
/// a newer one had replaced it. The number that is kept here prevents that.
const REMEMBER: &str = "
    UPDATE tailnet_private.identities i SET session = q.session
    FROM unnest($1, $2) q(id, session)
    WHERE i.id = q.id AND i.session < q.session";

/// The newest session of each peer in a batch, in the order of the peers.
pub fn newest(mut batch: Vec<SessionId>) -> Vec<SessionId> {
    batch.sort_by_key(|session| (session.peer, Reverse(session.number)));
    batch.dedup_by_key(|session| session.peer);
    batch
}

/// From now on no earlier session of these peers can be attached.
pub fn remember(turn: &Turn, newest: &[SessionId]) -> Result<(), Error> {
    let [_, ids, numbers] = session_parameters(turn, newest);
    if run(REMEMBER, &[ids, numbers])? > 0 {
        commit_without_flush();
    }
    Ok(())
}
