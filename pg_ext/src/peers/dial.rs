//! Dials: whether whoever shows a token may open a tunnel to an agent, before there is a session.

use pgrx::prelude::*;

use crate::{
    error::raise_error,
    peers::permission::{tunnel_ends, tunnel_rule},
    pg::statement::rows,
};

/// The source is an identity, or stands for the peers of a key. `sp` is what a row of peers would say of it.
const JUDGE: &str = concat!(
    "
    SELECT ",
    tunnel_rule!(),
    " IS NOT NULL AND coalesce(di.role = 'agent', false)
    FROM (
        SELECT r.ord, coalesce(i.id, t.key_id) AS src, t.key_id, r.dst
        FROM unnest($1, $2) WITH ORDINALITY r(hash, dst, ord)
        LEFT JOIN tailnet_private.identities i ON i.token_sha256 = r.hash
        LEFT JOIN (
            tailnet_private.tokens t JOIN tailnet_private.keys k ON k.id = t.key_id AND k.kind = 'shared'
        ) ON t.sha256 = r.hash
    ) q
    CROSS JOIN LATERAL (SELECT q.key_id) sp",
    tunnel_ends!(),
    "
    ORDER BY q.ord"
);

#[pg_extern(stable, strict)]
fn judge_dials(token_hashes: pgrx::Array<'_, &[u8]>, agents: Vec<pgrx::Uuid>) -> Vec<bool> {
    raise_error(|| {
        let token_hashes: Vec<Option<&[u8]>> = token_hashes.iter().collect();
        rows(JUDGE, &[token_hashes.into(), agents.into()], |row| row.get(1))
    })
}
