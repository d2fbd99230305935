//! A subtransaction around statements that may fail, as EXCEPTION in PL/pgSQL and `subtransaction` in PL/Python make it.

#![expect(unsafe_code, reason = "begins and ends subtransactions of Postgres")]

use std::{
    panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe},
    ptr,
};

use pgrx::{
    PgTryBuilder,
    pg_sys::{
        self, MemoryContext, ResourceOwner,
        panic::{CaughtError, ErrorReportWithLevel},
    },
};

/// Runs a function in a subtransaction. Undoes it and returns None when the function returns None or raises an error that
/// is excused. Undoes it and raises the error when it is not excused.
pub fn attempt<T>(excused: fn(&ErrorReportWithLevel) -> bool, run: impl FnOnce() -> Option<T>) -> Option<T> {
    let outside = Outside::leave();
    let done = PgTryBuilder::new(AssertUnwindSafe(run))
        // A panic in Rust comes here as well.
        .catch_others(move |error| match error {
            CaughtError::PostgresError(report) if excused(&report) => None,
            error => {
                outside.undo();
                error.rethrow()
            }
        })
        .execute();
    if done.is_some() {
        outside.keep()
    } else {
        outside.undo()
    }
    done
}

/// The memory context and the resource owner outside of the subtransaction, which does not restore them.
#[derive(Clone, Copy)]
struct Outside {
    context: MemoryContext,
    owner: ResourceOwner,
}

// Nobody reads them while a panic unwinds.
impl UnwindSafe for Outside {}
impl RefUnwindSafe for Outside {}

impl Outside {
    /// Begins a subtransaction. The memory context stays that of the caller, so the function may return what it allocates.
    fn leave() -> Self {
        // SAFETY: a SQL function that writes runs in a transaction, and never in a parallel worker.
        unsafe {
            let outside = Self { context: pg_sys::CurrentMemoryContext, owner: pg_sys::CurrentResourceOwner };
            pg_sys::BeginInternalSubTransaction(ptr::null());
            pg_sys::MemoryContextSwitchTo(outside.context);
            outside
        }
    }

    fn keep(self) {
        // SAFETY: the subtransaction is the current one: whatever ran in it has ended its own subtransactions.
        unsafe { pg_sys::ReleaseCurrentSubTransaction() };
        self.restore();
    }

    fn undo(self) {
        // SAFETY: as in `keep`. After an error, unwinding has already closed SPI connections and freed their memory. The
        // rollback finds locks, buffers and snapshots by its resource owner.
        unsafe { pg_sys::RollbackAndReleaseCurrentSubTransaction() };
        self.restore();
    }

    fn restore(self) {
        // SAFETY: both were there before the subtransaction, and outlive it.
        unsafe {
            pg_sys::MemoryContextSwitchTo(self.context);
            pg_sys::CurrentResourceOwner = self.owner;
        }
    }
}
