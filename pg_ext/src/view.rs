//! Views travel in the log too: what a session must know of its tunnel partners is an event like any change, so a proxy
//! never has to order a result against its log. A large view comes in pages in key order, one short transaction each;
//! what changes between two pages is told by ordinary events.

use std::collections::HashMap;

use pgrx::prelude::*;
use tailnet_wire::{Event, Partner, SessionId};
use uuid::Uuid;

use crate::{
    array::{self, Array, from_pg, to_pg, uuid_array},
    binding,
    error::{Error, raise_error},
    session::sessions,
    settings,
    statement::rows,
    turn::Turn,
};

/// The sessions that are current, so that nothing is sent for one that is gone.
const LIVE: &str = "
    SELECT q.ord
    FROM unnest($2, $3) WITH ORDINALITY q(id, session, ord)
    JOIN tailnet_private.peers p ON p.id = q.id AND p.session = q.session AND p.coordinator_id IS NOT DISTINCT FROM $1";

/// One partner more than a page has, to know whether there is a next one.
const PARTNERS: &str = "
    SELECT q.ord, t.other, t.outbound, t.inbound, p.status, p.digest, p.node
    FROM unnest($1, $2) WITH ORDINALITY q(id, after, ord)
    CROSS JOIN LATERAL (
        SELECT u.other, pg_catalog.bool_or(u.outbound) AS outbound, pg_catalog.bool_or(NOT u.outbound) AS inbound
        FROM (
            (SELECT o.dst AS other, true AS outbound FROM tailnet_private.tunnels o
             WHERE o.src = q.id AND o.dst > q.after ORDER BY o.dst LIMIT $3)
            UNION ALL
            (SELECT i.src, false FROM tailnet_private.tunnels i
             WHERE i.dst = q.id AND i.src > q.after ORDER BY i.src LIMIT $3)
        ) u
        GROUP BY u.other ORDER BY u.other LIMIT $3
    ) t
    LEFT JOIN tailnet_private.peers p ON p.id = t.other
    ORDER BY q.ord, t.other";

#[pg_extern]
fn view_peers(
    registration: Option<pgrx::Uuid>,
    peers: Array<pgrx::Uuid>,
    sessions: Array<i64>,
    afters: Array<pgrx::Uuid>,
) -> i32 {
    raise_error(|| {
        let batch = self::sessions(peers, sessions)?;
        let afters = array::elements("afters", afters)?;
        array::same_length("peers", &batch, "afters", &afters)?;
        let mut batch = batch.into_iter().zip(afters.into_iter().map(|after| after.map(from_pg))).collect();
        let mut turn = Turn::take(registration, &mut batch, |(session, _)| session.peer)?;
        let numbers: Vec<i64> = batch.iter().map(|(session, _)| session.number).collect();
        let ids = uuid_array(batch.iter().map(|(session, _)| session.peer));
        let live = rows(LIVE, &[to_pg(turn.coordinator).into(), ids.into(), numbers.into()], |row| row.place(1))?;
        let pages: Vec<_> = live.into_iter().map(|place| batch[place]).collect();
        send_views(&mut turn, &pages)?;
        turn.end(pages.len())
    })
}

/// Sends each session the page of its view behind a key (None: the first page).
pub fn send_views(turn: &mut Turn, pages: &[(SessionId, Option<Uuid>)]) -> Result<(), Error> {
    if pages.is_empty() {
        return Ok(());
    }
    let size = (settings::view_partners() / pages.len()).max(1);
    let limit = i64::try_from(size + 1).expect("a page is bounded");
    let ids = uuid_array(pages.iter().map(|(session, _)| session.peer));
    // The nil uuid is no peer, so it comes before the first one.
    let afters = uuid_array(pages.iter().map(|(_, after)| after.unwrap_or_default()));
    let found = rows(PARTNERS, &[ids.into(), afters.into(), limit.into()], |row| {
        let binding = binding::from_row(row, 5)?;
        Ok((row.place(1)?, Partner { id: row.id(2)?, outbound: row.get(3)?, inbound: row.get(4)?, binding }))
    })?;
    let mut partners: HashMap<usize, Vec<Partner>> = HashMap::new();
    for (place, partner) in found {
        partners.entry(place).or_default().push(partner);
    }
    for (place, (session, after)) in pages.iter().enumerate() {
        let mut partners = partners.remove(&place).unwrap_or_default();
        let more = partners.len() > size;
        partners.truncate(size);
        let until = if more { partners.last().map(|last| last.id) } else { None };
        turn.answer(&Event::View { id: session.peer, session: session.number, after: *after, until, partners });
    }
    Ok(())
}
