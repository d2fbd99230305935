//! Which coordinator calls. A registration cannot end while a call of it is in flight, and no call of an ended one commits.

use uuid::Uuid;

use crate::{
    error::Error,
    order::locks,
    pg::{
        statement::rows,
        uuids::{from_pg, to_pg},
    },
};

const COORDINATOR: &str = "SELECT c.id FROM tailnet_private.coordinators c WHERE c.registration = $1";

const REGISTRATION: &str = "SELECT c.registration FROM tailnet_private.coordinators c WHERE c.id = $1";

/// Keeps a registration from ending before the transaction does. The caller then looks whether the registration is
/// current: a new registration, a close and an expiry all wait for this call, see [`exclude_calls`].
pub fn hold(registration: Option<pgrx::Uuid>) -> Result<Uuid, Error> {
    locks::prepare()?;
    let registration = registration.map(from_pg).ok_or(Error::NotRegistered)?;
    locks::share_registration(registration);
    Ok(registration)
}

/// The coordinator of a registration that is current, and that cannot end before the transaction does.
pub fn admit(registration: Option<pgrx::Uuid>) -> Result<Uuid, Error> {
    coordinator_of(hold(registration)?)
}

/// The coordinator of a registration that is current now.
pub fn coordinator_of(registration: Uuid) -> Result<Uuid, Error> {
    rows(COORDINATOR, &[to_pg(registration).into()], |row| row.id(1))?.pop().ok_or(Error::NotRegistered)
}

/// Waits for the calls of a coordinator's registration that are in flight, and keeps others out until the transaction
/// ends. Only one transaction at a time may end registrations of a coordinator, so no other can replace the one found.
pub fn exclude_calls(coordinator: Uuid) -> Result<(), Error> {
    locks::prepare()?;
    locks::lock_coordinator(coordinator);
    if let Some(registration) = registration_of(coordinator)? {
        locks::lock_registration(registration);
    }
    Ok(())
}

/// Like [`exclude_calls`], but gives up at once while calls are in flight.
pub fn try_exclude_calls(coordinator: Uuid) -> Result<bool, Error> {
    if !locks::try_lock_coordinator(coordinator) {
        return Ok(false);
    }
    Ok(registration_of(coordinator)?.is_none_or(locks::try_lock_registration))
}

fn registration_of(coordinator: Uuid) -> Result<Option<Uuid>, Error> {
    Ok(rows(REGISTRATION, &[to_pg(coordinator).into()], |row| row.id(1))?.pop())
}
