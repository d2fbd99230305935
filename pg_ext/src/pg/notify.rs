//! The channel of a registration: LISTEN and NOTIFY.

#![expect(unsafe_code, reason = "calls functions of Postgres")]

use std::ffi::{CString, c_char};

use pgrx::pg_sys;
use uuid::Uuid;

unsafe extern "C-unwind" {
    /// Queues a notification, which Postgres delivers when the transaction commits (async.c). pgrx has no binding of it.
    fn Async_Notify(channel: *const c_char, payload: *const c_char);

    /// LISTENs when the transaction commits (async.c). pgrx has no binding of it.
    fn Async_Listen(channel: *const c_char);
}

/// The channel of a registration. Any database role may LISTEN and NOTIFY on any channel whose name it knows; so the name
/// is made of the registration, which is secret.
#[derive(Debug)]
pub struct Channel(CString);

impl Channel {
    /// The channel of this registration.
    pub fn of(registration: Uuid) -> Self {
        Self(CString::new(format!("tailnet_{}", registration.simple())).expect("hex digits have no NUL byte"))
    }

    /// Makes this backend hear the channel from the commit of the transaction on.
    pub fn listen(&self) {
        // SAFETY: as in `notify`.
        unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| Async_Listen(self.0.as_ptr())) }
    }

    /// Queues a payload. `pg_notify` would do the same, with the cost of a function call for each payload.
    pub fn notify(&self, payload: &str) {
        let payload = CString::new(payload).expect("JSON text has no NUL byte");
        // SAFETY: both strings live until the call returns, which copies them. The boundary turns a longjmp of Postgres
        // into a panic that unwinds.
        unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| Async_Notify(self.0.as_ptr(), payload.as_ptr())) }
    }
}
