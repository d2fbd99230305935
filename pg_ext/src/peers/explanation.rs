//! Explanations for operators: why a tunnel may be opened, or what is missing.

use pgrx::prelude::*;
use uuid::Uuid;

use crate::{
    error::{Error, raise_error},
    order::locks,
    peers::permission::{role_rule, tunnel_ends, tunnel_rule},
    pg::{
        statement::rows,
        uuids::{from_pg, to_pg},
    },
};

/// The rule that allows it, or else what is missing.
const EXPLAIN: &str = concat!(
    "
    SELECT ",
    tunnel_rule!(),
    ",
        CASE WHEN n.id IS NULL THEN 'the source does not exist'
             WHEN q.src = q.dst THEN 'source and destination are the same peer'
             WHEN coalesce(di.network_id, dk.network_id) IS NULL THEN 'the destination does not exist'
             WHEN coalesce(di.network_id, dk.network_id) <> n.id THEN 'the destination is in another network'
             WHEN coalesce(si.revoked_at, sk.ended_at) IS NOT NULL
                  OR coalesce(si.expires_at, sk.expires_at) <= pg_catalog.clock_timestamp()
             THEN 'the source or its key is revoked or expired'
             WHEN coalesce(di.revoked_at, dk.ended_at) IS NOT NULL
                  OR coalesce(di.expires_at, dk.expires_at) <= pg_catalog.clock_timestamp()
             THEN 'the destination or its key is revoked or expired'
             WHEN coalesce(si.role, sk.role) = 'agent' THEN 'an agent opens no tunnels'
             WHEN coalesce(di.role, dk.role) = 'hub' THEN 'a client opens no tunnel to a hub'
             ELSE 'there is no grant, and no policy from a tag of the source to a tag of the destination' END
    FROM (SELECT $1 AS src, $2 AS dst) q
    LEFT JOIN tailnet_private.peers sp ON sp.id = q.src",
    tunnel_ends!()
);

/// The rule for peers that need not exist: a source and a destination with these roles and tags.
const BETWEEN: &str = concat!(
    "
    SELECT ",
    role_rule!(
        source_role = "$2",
        destination_role = "$4",
        granted = "false",
        pairs = "SELECT s AS source, d AS destination FROM unnest($3) s, unnest($5) d"
    ),
    " FROM tailnet_private.networks n WHERE n.id = $1"
);

#[pg_extern]
fn explain_tunnel(src: Option<pgrx::Uuid>, dst: Option<pgrx::Uuid>) -> String {
    raise_error(|| {
        let src = from_pg(src.ok_or(Error::NullArgument("src", "the id of a peer"))?);
        let dst = from_pg(dst.ok_or(Error::NullArgument("dst", "the id of a peer"))?);
        let (rule, missing) = explain(src, dst)?;
        Ok(match rule {
            Some(rule) => format!("allowed: {rule}"),
            None => format!("not allowed: {missing}"),
        })
    })
}

/// `sql/policies.sql` declares these functions.
#[pg_extern(sql = false)]
fn tunnel_rule(src: pgrx::Uuid, dst: pgrx::Uuid) -> Option<String> {
    raise_error(|| Ok(explain(from_pg(src), from_pg(dst))?.0))
}

#[pg_extern(sql = false)]
fn rule_between(
    network: pgrx::Uuid,
    source_role: String,
    source_tags: Vec<String>,
    destination_role: String,
    destination_tags: Vec<String>,
) -> Option<String> {
    raise_error(|| {
        let parameters =
            [network.into(), source_role.into(), source_tags.into(), destination_role.into(), destination_tags.into()];
        Ok(rows(BETWEEN, &parameters, |row| row.maybe(1))?.pop().flatten())
    })
}

#[pg_extern(sql = false)]
fn lock_network(network: pgrx::Uuid) {
    raise_error(|| {
        locks::prepare()?;
        locks::lock_networks([from_pg(network)]);
        Ok(())
    });
}

fn explain(src: Uuid, dst: Uuid) -> Result<(Option<String>, String), Error> {
    let found = rows(EXPLAIN, &[to_pg(src).into(), to_pg(dst).into()], |row| Ok((row.maybe(1)?, row.get(2)?)))?;
    Ok(found.into_iter().next().expect("one row is asked for"))
}
