//! A savepoint around statements that may fail without harm: what PL/pgSQL's EXCEPTION and PL/Python's `subtransaction` do.

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

/// Runs it, and undoes it when it returns None or ends with an error that is excused: None. Any other error is raised.
pub fn attempt<T>(excused: fn(&ErrorReportWithLevel) -> bool, run: impl FnOnce() -> Option<T>) -> Option<T> {
    let outside = Outside::leave();
    let done = PgTryBuilder::new(AssertUnwindSafe(run))
        // A panic of Rust comes here as well.
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

/// What a subtransaction replaces and does not put back.
#[derive(Clone, Copy)]
struct Outside {
    context: MemoryContext,
    owner: ResourceOwner,
}

// Neither is read while it unwinds.
impl UnwindSafe for Outside {}
impl RefUnwindSafe for Outside {}

impl Outside {
    /// Begins a subtransaction. Memory stays that of the caller, so that what runs may return it.
    fn leave() -> Self {
        // SAFETY: a function that writes is called in a transaction, and never in a parallel worker.
        unsafe {
            let outside = Self { context: pg_sys::CurrentMemoryContext, owner: pg_sys::CurrentResourceOwner };
            pg_sys::BeginInternalSubTransaction(ptr::null());
            pg_sys::MemoryContextSwitchTo(outside.context);
            outside
        }
    }

    fn keep(self) {
        // SAFETY: it is the current one, because whatever ran in it has ended its own.
        unsafe { pg_sys::ReleaseCurrentSubTransaction() };
        self.restore();
    }

    fn undo(self) {
        // SAFETY: the same. After an error, unwinding has closed SPI connections and freed memory that it would otherwise
        // close and free; locks, buffers and snapshots it finds by its resource owner.
        unsafe { pg_sys::RollbackAndReleaseCurrentSubTransaction() };
        self.restore();
    }

    fn restore(self) {
        // SAFETY: both are older than the subtransaction, and live longer.
        unsafe {
            pg_sys::MemoryContextSwitchTo(self.context);
            pg_sys::CurrentResourceOwner = self.owner;
        }
    }
}
