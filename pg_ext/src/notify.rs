//! One NOTIFY.

use std::ffi::{CString, c_char};

use pgrx::pg_sys;

unsafe extern "C-unwind" {
    /// Queues a notification that is delivered when the transaction commits (async.c); absent from pgrx's bindings.
    fn Async_Notify(channel: *const c_char, payload: *const c_char);
}

/// Queues a payload for a channel.
///
/// `pg_notify` would do the same through a function call a payload.
pub fn notify(channel: &str, payload: &str) {
    let channel = CString::new(channel).expect("a channel's name is hex digits");
    let payload = CString::new(payload).expect("JSON text has no NUL byte");
    // SAFETY: both strings live until the call returns, which copies them; the boundary turns a longjmp of Postgres
    // into a panic that unwinds.
    unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| Async_Notify(channel.as_ptr(), payload.as_ptr())) }
}
