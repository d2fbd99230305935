//! The isolation level of the current transaction, and settings that hold until it ends.

#![expect(unsafe_code, reason = "reads and sets settings of Postgres")]

use std::ffi::{CStr, CString};

use pgrx::pg_sys;

/// Whether each statement sees what was committed before it began. At REPEATABLE READ and above all statements see what
/// was committed before the first one began.
pub fn statements_see_commits() -> bool {
    // SAFETY: a variable of this backend, which has one thread.
    let level = unsafe { pg_sys::XactIsoLevel };
    level < pg_sys::XACT_REPEATABLE_READ as i32
}

/// Sets `lock_timeout` until the end of the transaction, unless a shorter one is in force.
pub fn bound_lock_timeout(ms: i32) {
    // SAFETY: as above.
    bound(c"lock_timeout", unsafe { pg_sys::LockTimeout }, ms);
}

/// Sets `idle_in_transaction_session_timeout` until the end of the transaction, unless a shorter one is in force.
pub fn bound_idle_timeout(ms: i32) {
    // SAFETY: as above.
    bound(c"idle_in_transaction_session_timeout", unsafe { pg_sys::IdleInTransactionSessionTimeout }, ms);
}

fn bound(name: &CStr, current_ms: i32, bound_ms: i32) {
    // 0 is no timeout.
    if (1..=bound_ms).contains(&current_ms) {
        return;
    }
    let value = CString::new(bound_ms.to_string()).expect("digits have no NUL byte");
    set_local(name, &value);
}

/// Makes the commit of this transaction wait for no disk and no standby. The calls of proxies do that, because they hold locks
/// for which others wait until the commit is done: those of networks, and from a NOTIFY on one that all of the cluster shares.
pub fn commit_without_flush() {
    set_local(c"synchronous_commit", c"off");
}

/// Sets a setting until the end of the transaction.
fn set_local(name: &CStr, value: &CStr) {
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
