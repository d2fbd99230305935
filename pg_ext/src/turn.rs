//! One change's turn in the order of its networks.

use std::{
    collections::{BTreeSet, HashMap},
    ffi::{CStr, CString},
};

use pgrx::pg_sys;
use tailnet_wire::Role;
use uuid::Uuid;

use crate::{
    array::{from_pg, to_pg, uuid_array},
    error::Error,
    fanout::Fanout,
    statement::{rows, run},
};

/// Networks hash onto so many lock keys: few enough for any batch to hold them all, many enough to rarely collide.
const NETWORK_LOCKS: u8 = 64;

/// How long a call waits for a lock. It is longer than any batch takes, and shorter than a proxy's patience.
const LOCK_TIMEOUT_MS: i32 = 5_000;

/// How long a client may sit on the locks between two statements of a transaction.
const IDLE_TIMEOUT_MS: i32 = 5_000;

// First keys of the two kinds of advisory locks: "tnnw" and "tnco" in ASCII.
const NETWORK_CLASS: i32 = 0x746e_6e77;
const COORDINATOR_CLASS: i32 = 0x746e_636f;

const LOCK_SHARED: &str = "SELECT pg_catalog.pg_advisory_xact_lock_shared($1, $2)";
const LOCK: &str = "SELECT pg_catalog.pg_advisory_xact_lock($1, $2)";
const TRY_LOCK: &str = "SELECT pg_catalog.pg_try_advisory_xact_lock($1, $2)";
const LOCK_ALL: &str = "SELECT pg_catalog.pg_advisory_xact_lock($1, k) FROM unnest($2) k";
const REGISTERED: &str = "SELECT c.id FROM tailnet_private.coordinators c WHERE c.registration = $1";
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

/// Which of a coordinator's calls may run beside each other: a call of a registration shares, what ends the
/// registration (a new one, a close, an expiry) excludes, so no call of an ended one is still to commit.
fn coordinator_key(coordinator: Uuid) -> i32 {
    let (words, _) = coordinator.as_bytes().as_chunks();
    words.iter().fold(0, |key, word| key ^ i32::from_be_bytes(*word))
}

/// Waits for a coordinator's calls in flight, and keeps others out until the transaction ends.
pub fn exclude_calls(coordinator: Uuid) -> Result<(), Error> {
    guard()?;
    run(LOCK, &[COORDINATOR_CLASS.into(), coordinator_key(coordinator).into()])?;
    Ok(())
}

/// The same, but gives up at once while there are calls in flight.
pub fn try_exclude_calls(coordinator: Uuid) -> Result<bool, Error> {
    let got: Vec<bool> =
        rows(TRY_LOCK, &[COORDINATOR_CLASS.into(), coordinator_key(coordinator).into()], |row| row.get(1))?;
    Ok(got == [true])
}

/// The coordinator of a registration.
pub fn registered(registration: Uuid) -> Result<Uuid, Error> {
    rows(REGISTERED, &[to_pg(registration).into()], |row| row.id(1))?.pop().ok_or(Error::NotRegistered)
}

/// The coordinator of a registration, which cannot end before the transaction does.
pub fn admit(registration: Option<pgrx::Uuid>) -> Result<Uuid, Error> {
    guard()?;
    let registration = registration.map(from_pg).ok_or(Error::NotRegistered)?;
    let coordinator = registered(registration)?;
    run(LOCK_SHARED, &[COORDINATOR_CLASS.into(), coordinator_key(coordinator).into()])?;
    // It may have ended while this call waited.
    if registered(registration)? == coordinator { Ok(coordinator) } else { Err(Error::NotRegistered) }
}

/// Takes the locks of networks, in sorted order, until the transaction ends.
pub fn lock_networks(networks: impl IntoIterator<Item = Uuid>) -> Result<(), Error> {
    let keys: BTreeSet<i32> =
        networks.into_iter().map(|network| i32::from(network.as_bytes()[15] % NETWORK_LOCKS)).collect();
    if !keys.is_empty() {
        run(LOCK_ALL, &[NETWORK_CLASS.into(), keys.into_iter().collect::<Vec<_>>().into()])?;
    }
    Ok(())
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
    /// Waits for the turn. Statements that follow see every earlier change of these networks.
    pub fn take(registration: Option<pgrx::Uuid>, peers: &[Uuid]) -> Result<Self, Error> {
        let coordinator = admit(registration)?;
        let identities = identities(peers)?;
        lock_networks(identities.values().map(|identity| identity.network))?;
        Ok(Self { coordinator, identities, fanout: Fanout::default() })
    }

    /// Adds an event for the acting coordinator itself.
    pub fn answer(&mut self, event: tailnet_wire::Event) {
        self.fanout.tell(self.coordinator, event);
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
    let identities = identities(peers)?;
    lock_networks(identities.values().map(|identity| identity.network))?;
    Ok(identities)
}

fn identities(peers: &[Uuid]) -> Result<HashMap<Uuid, Identity>, Error> {
    let found = rows(IDENTITIES, &[uuid_array(peers.iter().copied()).into()], |row| {
        let role: String = row.get(3)?;
        let role = role.parse().map_err(|e: tailnet_wire::role::UnknownRole| Error::Corrupt(e.to_string()))?;
        Ok((row.id(1)?, Identity { network: row.id(2)?, role }))
    })?;
    Ok(found.into_iter().collect())
}
