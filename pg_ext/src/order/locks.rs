//! The advisory locks: networks, coordinators, registrations, and the one of reaping. A transaction takes them in the order
//! coordinator, registration, networks, and holds them until it ends.

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::{
    error::Error,
    pg::{
        advisory,
        transaction::{bound_idle_timeout, bound_lock_timeout, statements_see_commits},
    },
};

/// Networks hash onto this many lock keys. They are few enough for any batch to hold them all, and many enough to make
/// collisions rare.
const NETWORK_LOCKS: u8 = 64;

/// How long a call waits for a lock. It is longer than any batch takes, and shorter than a proxy waits for a call.
const LOCK_TIMEOUT_MS: i32 = 5_000;

/// How long a caller may hold the locks without running a statement.
const IDLE_TIMEOUT_MS: i32 = 5_000;

// The first keys of the kinds of locks: "tnnw", "tnco", "tnre" and "tnrp" in ASCII.
const NETWORK_CLASS: i32 = 0x746e_6e77;
const COORDINATOR_CLASS: i32 = 0x746e_636f;
const REGISTRATION_CLASS: i32 = 0x746e_7265;
const REAPER_CLASS: i32 = 0x746e_7270;

/// Checks that this transaction may take locks, and bounds how long it waits for them and holds them.
pub fn prepare() -> Result<(), Error> {
    if !statements_see_commits() {
        return Err(Error::Isolation);
    }
    bound_lock_timeout(LOCK_TIMEOUT_MS);
    bound_idle_timeout(IDLE_TIMEOUT_MS);
    Ok(())
}

/// Takes the locks of networks in sorted order, so that two calls cannot wait for each other.
pub fn lock_networks(networks: impl IntoIterator<Item = Uuid>) {
    let keys: BTreeSet<i32> =
        networks.into_iter().map(|network| i32::from(network.as_bytes()[15] % NETWORK_LOCKS)).collect();
    keys.into_iter().for_each(|key| advisory::lock(NETWORK_CLASS, key));
}

/// Held exclusively by whatever ends the registration of a coordinator.
pub fn lock_coordinator(coordinator: Uuid) {
    advisory::lock(COORDINATOR_CLASS, key(coordinator));
}

pub fn try_lock_coordinator(coordinator: Uuid) -> bool {
    advisory::try_lock(COORDINATOR_CLASS, key(coordinator))
}

/// Waits for all calls of a registration, and keeps new ones out.
pub fn lock_registration(registration: Uuid) {
    advisory::lock(REGISTRATION_CLASS, key(registration));
}

pub fn try_lock_registration(registration: Uuid) -> bool {
    advisory::try_lock(REGISTRATION_CLASS, key(registration))
}

/// Held by each call of a registration.
pub fn share_registration(registration: Uuid) {
    advisory::lock_shared(REGISTRATION_CLASS, key(registration));
}

/// Held by the one call that reaps what is pending. Nobody waits for it.
pub fn try_lock_reaper() -> bool {
    advisory::try_lock(REAPER_CLASS, 0)
}

/// The second key of the lock of a uuid.
fn key(id: Uuid) -> i32 {
    let (words, _) = id.as_bytes().as_chunks();
    words.iter().fold(0, |key, word| key ^ i32::from_be_bytes(*word))
}
