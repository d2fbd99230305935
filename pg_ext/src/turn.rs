//! One change's turn in the order of its networks.

use std::{
    collections::{BTreeSet, HashMap},
    ffi::{CStr, CString},
};

use pgrx::pg_sys;
use tailnet_wire::{Event, Refusal, Role, SessionId};
use uuid::Uuid;

use crate::{
    advisory,
    array::{from_pg, to_pg, uuid_array},
    error::Error,
    fanout::Fanout,
    statement::{Row, rows},
};

/// Networks hash onto so many lock keys: few enough for any batch to hold them all, many enough to rarely collide.
const NETWORK_LOCKS: u8 = 64;

/// How long a call waits for a lock. It is longer than any batch takes, and shorter than a proxy's patience.
const LOCK_TIMEOUT_MS: i32 = 5_000;

/// How long a client may sit on the locks between two statements of a transaction.
const IDLE_TIMEOUT_MS: i32 = 5_000;

// First keys of the kinds of advisory locks: "tnnw", "tnco" and "tnre" in ASCII.
const NETWORK_CLASS: i32 = 0x746e_6e77;
const COORDINATOR_CLASS: i32 = 0x746e_636f;
const REGISTRATION_CLASS: i32 = 0x746e_7265;

const REGISTERED: &str = "SELECT c.id FROM tailnet_private.coordinators c WHERE c.registration = $1";

const REGISTRATION: &str = "SELECT c.registration FROM tailnet_private.coordinators c WHERE c.id = $1";

/// The coordinator of a registration, with the peers that are or were connected. One row without a peer when there is none.
const CONNECTED: &str = "
    SELECT c.id, k.id, k.network_id, k.role
    FROM tailnet_private.coordinators c
    LEFT JOIN LATERAL (
        SELECT p.id, p.network_id, p.role FROM unnest($2) q(id) JOIN tailnet_private.peers p ON p.id = q.id
    ) k ON true
    WHERE c.registration = $1";

/// The same with all peers that exist.
const IDENTIFIED: &str = "
    SELECT c.id, k.id, k.network_id, k.role
    FROM tailnet_private.coordinators c
    LEFT JOIN LATERAL (
        SELECT i.id, i.network_id, i.role FROM unnest($2) q(id) JOIN tailnet_private.identities i ON i.id = q.id
    ) k ON true
    WHERE c.registration = $1";

const IDENTITIES: &str = "
    SELECT i.id, i.network_id, i.role
    FROM unnest($1) q(id)
    JOIN tailnet_private.identities i ON i.id = q.id";

/// What never changes of a peer, so that it may be read before the lock.
#[derive(Clone, Copy)]
pub struct Identity {
    pub network: Uuid,
    pub role: Role,
}

/// Checks that this transaction may take locks, and bounds how long it may hold them.
fn guard() -> Result<(), Error> {
    // SAFETY: reads of backend-local settings.
    let (level, lock, idle) =
        unsafe { (pg_sys::XactIsoLevel, pg_sys::LockTimeout, pg_sys::IdleInTransactionSessionTimeout) };
    if level >= pg_sys::XACT_REPEATABLE_READ as i32 {
        return Err(Error::Isolation);
    }
    set_local_timeout(c"lock_timeout", lock, LOCK_TIMEOUT_MS);
    set_local_timeout(c"idle_in_transaction_session_timeout", idle, IDLE_TIMEOUT_MS);
    Ok(())
}

/// Sets a timeout until the end of the transaction, unless a shorter one is in force (0 is none).
fn set_local_timeout(name: &CStr, current_ms: i32, bound_ms: i32) {
    if (1..=bound_ms).contains(&current_ms) {
        return;
    }
    let value = CString::new(bound_ms.to_string()).expect("digits have no NUL byte");
    set_local(name, &value);
}

/// Sets a setting until the end of the transaction.
pub fn set_local(name: &CStr, value: &CStr) {
    // SAFETY: both strings live until the call returns, which copies them.
    unsafe {
        pg_sys::set_config_option(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_LOCAL,
            true,
            0,
            false,
        );
    }
}

/// A lock key of a uuid.
fn key(id: Uuid) -> i32 {
    let (words, _) = id.as_bytes().as_chunks();
    words.iter().fold(0, |key, word| key ^ i32::from_be_bytes(*word))
}

/// Waits for the calls in flight of a coordinator's registration, and keeps others out until the transaction ends. Who
/// ends registrations does it one after the other, so the one that is found cannot be replaced meanwhile.
pub fn exclude_calls(coordinator: Uuid) -> Result<(), Error> {
    guard()?;
    advisory::lock(COORDINATOR_CLASS, key(coordinator));
    if let Some(registration) = registration_of(coordinator)? {
        advisory::lock(REGISTRATION_CLASS, key(registration));
    }
    Ok(())
}

/// The same, but gives up at once while there are calls in flight.
pub fn try_exclude_calls(coordinator: Uuid) -> Result<bool, Error> {
    if !advisory::try_lock(COORDINATOR_CLASS, key(coordinator)) {
        return Ok(false);
    }
    Ok(registration_of(coordinator)?
        .is_none_or(|registration| advisory::try_lock(REGISTRATION_CLASS, key(registration))))
}

fn registration_of(coordinator: Uuid) -> Result<Option<Uuid>, Error> {
    Ok(rows(REGISTRATION, &[to_pg(coordinator).into()], |row| row.id(1))?.pop())
}

/// The coordinator of a registration.
pub fn registered(registration: Uuid) -> Result<Uuid, Error> {
    rows(REGISTERED, &[to_pg(registration).into()], |row| row.id(1))?.pop().ok_or(Error::NotRegistered)
}

/// Makes a registration stand until the transaction ends, if it is current by then. What ends one (a new one, a close, an
/// expiry) excludes its calls, so no call of an ended one is still to commit.
fn hold(registration: Option<pgrx::Uuid>) -> Result<Uuid, Error> {
    guard()?;
    let registration = registration.map(from_pg).ok_or(Error::NotRegistered)?;
    advisory::lock_shared(REGISTRATION_CLASS, key(registration));
    Ok(registration)
}

/// The coordinator of a registration, which cannot end before the transaction does.
pub fn admit(registration: Option<pgrx::Uuid>) -> Result<Uuid, Error> {
    registered(hold(registration)?)
}

/// Takes the locks of networks, in sorted order, until the transaction ends.
pub fn lock_networks(networks: impl IntoIterator<Item = Uuid>) {
    let keys: BTreeSet<i32> =
        networks.into_iter().map(|network| i32::from(network.as_bytes()[15] % NETWORK_LOCKS)).collect();
    keys.into_iter().for_each(|key| advisory::lock(NETWORK_CLASS, key));
}

/// A coordinator's turn: it holds the locks of the networks of the peers it acts for, and gathers what must be told.
pub struct Turn {
    /// Who acts.
    pub coordinator: Uuid,
    /// The peers it acts for, as far as they exist.
    pub identities: HashMap<Uuid, Identity>,
    /// What must be told.
    pub fanout: Fanout,
}

impl Turn {
    /// Waits for the turn of sessions that stand. Statements that follow see every earlier change of their networks. Drops
    /// the entries of peers that never connected: nobody holds the locks of their networks, and they have no session.
    pub fn take<T>(
        registration: Option<pgrx::Uuid>,
        batch: &mut Vec<T>,
        peer: impl Fn(&T) -> Uuid,
    ) -> Result<Self, Error> {
        let turn = Self::of(CONNECTED, registration, batch.iter().map(&peer))?;
        batch.retain(|entry| turn.identities.contains_key(&peer(entry)));
        Ok(turn)
    }

    /// Waits for the turn of sessions that may be in no table: they are the first of their peers, or were forgotten.
    pub fn take_of_all(registration: Option<pgrx::Uuid>, batch: &[SessionId]) -> Result<Self, Error> {
        Self::of(IDENTIFIED, registration, batch.iter().map(|session| session.peer))
    }

    fn of(
        sql: &'static str,
        registration: Option<pgrx::Uuid>,
        peers: impl Iterator<Item = Uuid>,
    ) -> Result<Self, Error> {
        let registration = hold(registration)?;
        let peers: BTreeSet<Uuid> = peers.collect();
        let known = rows(sql, &[to_pg(registration).into(), uuid_array(peers).into()], |row| {
            let peer = row.maybe_id(2)?.map(|id| Ok::<_, Error>((id, identity(row, 3)?))).transpose()?;
            Ok((row.id(1)?, peer))
        })?;
        let coordinator = known.first().ok_or(Error::NotRegistered)?.0;
        let identities: HashMap<_, _> = known.into_iter().filter_map(|(_, peer)| peer).collect();
        lock_networks(identities.values().map(|identity| identity.network));
        Ok(Self { coordinator, identities, fanout: Fanout::default() })
    }

    /// The role of a peer of this turn.
    pub fn role(&self, peer: Uuid) -> Role {
        self.identities[&peer].role
    }

    /// Adds an event for the acting coordinator itself.
    pub fn answer(&mut self, event: &Event) {
        self.fanout.tell(self.coordinator, event);
    }

    /// Tells the acting coordinator that a request of one of its sessions is refused.
    pub fn refuse(&mut self, session: SessionId, why: Refusal) {
        self.answer(&Event::Refused { id: session.peer, session: session.number, why });
    }

    /// Sends what must be told, and returns the count as SQL has it.
    pub fn end(self, applied: usize) -> Result<i32, Error> {
        self.fanout.send()?;
        Ok(i32::try_from(applied).expect("a batch is bounded"))
    }
}

/// An operator's turn: in the networks of these peers, for no coordinator.
pub fn take_as_operator(peers: &[Uuid]) -> Result<HashMap<Uuid, Identity>, Error> {
    guard()?;
    let peers = uuid_array(peers.iter().copied());
    let identities: HashMap<_, _> =
        rows(IDENTITIES, &[peers.into()], |row| Ok((row.id(1)?, identity(row, 2)?)))?.into_iter().collect();
    lock_networks(identities.values().map(|identity| identity.network));
    Ok(identities)
}

/// Network and role, in two columns of a row.
fn identity(row: &Row<'_>, first: usize) -> Result<Identity, Error> {
    Ok(Identity { network: row.id(first)?, role: role(row, first + 1)? })
}

/// A role, in a column of a row.
pub fn role(row: &Row<'_>, column: usize) -> Result<Role, Error> {
    let role: String = row.get(column)?;
    role.parse().map_err(|error: tailnet_wire::role::UnknownRole| Error::Corrupt(error.to_string()))
}
