//! Advisory locks, which Postgres releases when the transaction ends.
//!
//! They are called as functions. A statement for each lock would cost as much as the work that the lock guards.

#![expect(unsafe_code, reason = "calls functions of Postgres")]

use pgrx::{IntoDatum as _, direct_function_call, pg_sys};

/// Waits for an exclusive lock.
pub fn lock(class: i32, key: i32) {
    // SAFETY: the function takes these arguments and may be called in a transaction. It raises an ERROR when it has waited
    // for `lock_timeout`.
    unsafe { direct_function_call::<()>(pg_sys::pg_advisory_xact_lock_int4, &[class.into_datum(), key.into_datum()]) };
}

/// Waits for a shared lock.
pub fn lock_shared(class: i32, key: i32) {
    // SAFETY: as above.
    unsafe {
        direct_function_call::<()>(pg_sys::pg_advisory_xact_lock_shared_int4, &[class.into_datum(), key.into_datum()])
    };
}

/// Takes an exclusive lock if nobody else has the lock. Does not wait.
pub fn try_lock(class: i32, key: i32) -> bool {
    // SAFETY: as above.
    let got = unsafe {
        direct_function_call(pg_sys::pg_try_advisory_xact_lock_int4, &[class.into_datum(), key.into_datum()])
    };
    got.expect("pg_try_advisory_xact_lock returns no NULL")
}
