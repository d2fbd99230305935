//! Turns: changes of a network happen one after the other. Read this file first.
//!
//! A call that changes the state of peers locks their networks, writes, and tells the coordinators that must hear of it.
//! Statements that run after the lock see every earlier change of these networks.

use std::collections::{BTreeSet, HashMap};

use pgrx::datum::DatumWithOid;
use tailnet_wire::{Event, Refusal, Role, SessionId};
use uuid::Uuid;

use crate::{
    error::Error,
    order::{fanout::Fanout, locks, membership::Membership, registration::hold},
    pg::{
        statement::rows,
        uuids::{to_pg, uuid_array},
    },
};

/// The coordinator of a registration, with the peers of a query. A coordinator without a peer is one row.
macro_rules! coordinator_and_peers {
    ($peers:literal) => {
        concat!(
            "
    SELECT c.id, k.id, k.network_id, k.role
    FROM tailnet_private.coordinators c
    LEFT JOIN LATERAL (",
            $peers,
            ") k ON true
    WHERE c.registration = $1"
        )
    };
}

/// With the peers that are or were connected.
const AMONG_PEERS: &str = coordinator_and_peers!(
    "SELECT p.id, p.network_id, p.role FROM unnest($2) q(id) JOIN tailnet_private.peers p ON p.id = q.id"
);

/// With all peers that exist, or may come with a key. If a call says that a peer with an identity came with a key, the identity
/// counts: it comes last.
const AMONG_CREDENTIALS: &str = coordinator_and_peers!(
    "
        SELECT q.id, y.network_id, y.role FROM unnest($3, $4) q(id, key) JOIN tailnet_private.keys y ON y.id = q.key
        UNION ALL
        SELECT i.id, i.network_id, i.role FROM unnest($2) q(id) JOIN tailnet_private.identities i ON i.id = q.id"
);

const MEMBERSHIPS: &str = "
    SELECT p.id, p.network_id, p.role FROM unnest($1) q(id) JOIN tailnet_private.peers p ON p.id = q.id
    UNION ALL
    SELECT i.id, i.network_id, i.role FROM unnest($1) q(id) JOIN tailnet_private.identities i ON i.id = q.id";

/// A coordinator's turn. It holds the locks of the networks of the peers that the coordinator acts for.
pub struct Turn {
    /// The calling coordinator.
    pub coordinator: Uuid,
    /// Those peers of the call that exist.
    pub memberships: HashMap<Uuid, Membership>,
    /// What coordinators will be told when the turn ends.
    pub fanout: Fanout,
}

impl Turn {
    /// Waits for the turn of peers that have a session. Removes the entries of peers that never connected: they have no
    /// session, and the locks of their networks are not held.
    pub fn take<T>(
        registration: Option<pgrx::Uuid>,
        batch: &mut Vec<T>,
        peer: impl Fn(&T) -> Uuid,
    ) -> Result<Self, Error> {
        let registration = hold(registration)?;
        let peers: BTreeSet<Uuid> = batch.iter().map(&peer).collect();
        let turn = Self::of(AMONG_PEERS, &[to_pg(registration).into(), uuid_array(peers).into()])?;
        batch.retain(|entry| turn.memberships.contains_key(&peer(entry)));
        Ok(turn)
    }

    /// Like [`Self::take`], but looks the peers up among the identities, or at the key with which they say that they came. They
    /// may have no row in the table of peers: it is their first session, or a crash has emptied the table.
    pub fn take_of_all(
        registration: Option<pgrx::Uuid>,
        batch: &[SessionId],
        keys: impl Iterator<Item = Option<Uuid>>,
    ) -> Result<Self, Error> {
        let registration = hold(registration)?;
        let (ephemeral, keys): (Vec<Uuid>, Vec<Uuid>) =
            batch.iter().zip(keys).filter_map(|(session, key)| Some((session.peer, key?))).unzip();
        let peers: BTreeSet<Uuid> = batch.iter().map(|session| session.peer).collect();
        Self::of(
            AMONG_CREDENTIALS,
            &[
                to_pg(registration).into(),
                uuid_array(peers).into(),
                uuid_array(ephemeral).into(),
                uuid_array(keys).into(),
            ],
        )
    }

    fn of(sql: &'static str, parameters: &[DatumWithOid<'_>]) -> Result<Self, Error> {
        let found = rows(sql, parameters, |row| {
            let peer = row.maybe_id(2)?.map(|id| Ok::<_, Error>((id, Membership::from_row(row, 3)?))).transpose()?;
            Ok((row.id(1)?, peer))
        })?;
        let coordinator = found.first().ok_or(Error::NotRegistered)?.0;
        let memberships: HashMap<_, _> = found.into_iter().filter_map(|(_, peer)| peer).collect();
        locks::lock_networks(memberships.values().map(|membership| membership.network));
        Ok(Self { coordinator, memberships, fanout: Fanout::default() })
    }

    /// The role of a peer of this turn.
    pub fn role(&self, peer: Uuid) -> Role {
        self.memberships[&peer].role
    }

    /// Adds an event for the calling coordinator.
    pub fn answer(&mut self, event: &Event) {
        self.fanout.tell(self.coordinator, event);
    }

    /// Tells the calling coordinator that a request of one of its sessions is refused.
    pub fn refuse(&mut self, session: SessionId, why: Refusal) {
        self.answer(&Event::Refused { id: session.peer, session: session.number, why });
    }

    /// Sends all events. Returns the number of entries that had an effect, as SQL has it.
    pub fn end(self, applied: usize) -> Result<i32, Error> {
        self.fanout.send()?;
        Ok(i32::try_from(applied).expect("a batch is bounded"))
    }
}

/// Waits for an operator's turn in the networks of these peers, and returns those that exist.
pub fn take_as_operator(peers: &[Uuid]) -> Result<HashMap<Uuid, Membership>, Error> {
    locks::prepare()?;
    let peers = uuid_array(peers.iter().copied());
    let memberships: HashMap<_, _> =
        rows(MEMBERSHIPS, &[peers.into()], |row| Ok((row.id(1)?, Membership::from_row(row, 2)?)))?
            .into_iter()
            .collect();
    locks::lock_networks(memberships.values().map(|membership| membership.network));
    Ok(memberships)
}
