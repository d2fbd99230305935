//! Values that the input functions of Postgres read from text. So a text means here what it means in SQL.

#![expect(unsafe_code, reason = "calls input functions of Postgres")]

use std::{cmp::Ordering, ffi::CString};

use pgrx::{
    pg_sys::{self, Datum, panic::CaughtError},
    prelude::*,
};

/// An address. Its memory is that of the current call.
#[derive(Debug, Clone, Copy)]
pub struct Inet(Datum);

impl Inet {
    /// Reads an address. The error is what Postgres says of the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        read(pg_sys::inet_in, text).map(Self)
    }

    pub(super) fn datum(self) -> Datum {
        self.0
    }
}

impl Ord for Inet {
    fn cmp(&self, other: &Self) -> Ordering {
        // SAFETY: both are inets.
        let order: Option<i32> =
            unsafe { pgrx::direct_function_call(pg_sys::network_cmp, &[Some(self.0), Some(other.0)]) };
        order.expect("network_cmp returns a number").cmp(&0)
    }
}

impl PartialOrd for Inet {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Inet {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Inet {}

/// Reads a timestamptz: microseconds since 2000. The error is what Postgres says of the text.
pub fn timestamptz(text: &str) -> Result<i64, String> {
    let datum = read(pg_sys::timestamptz_in, text)?;
    // SAFETY: it is a timestamptz, which is stored as an i64.
    let time = unsafe { i64::from_datum(datum, false) };
    Ok(time.expect("it is not NULL"))
}

type InputFunction = unsafe fn(pg_sys::FunctionCallInfo) -> Datum;

fn read(input: InputFunction, text: &str) -> Result<Datum, String> {
    let text = CString::new(text).map_err(|_| "a value has the character U+0000".to_owned())?;
    let args = [Some(Datum::from(text.as_ptr())), Some(pg_sys::InvalidOid.into()), Some(Datum::from(-1_i32))];
    PgTryBuilder::new(|| {
        // SAFETY: input functions take these arguments; the text outlives the call.
        let datum = unsafe { pgrx::direct_function_call_as_datum(input, &args) };
        Ok(datum.expect("an input function returns no NULL for a text"))
    })
    .catch_others(|error| match error {
        CaughtError::PostgresError(report) if is_data_exception(report.sql_error_code()) => {
            Err(report.message().to_owned())
        }
        error => error.rethrow(),
    })
    .execute()
}

/// Whether the SQLSTATE is of class 22. An input function that raises such an error leaves nothing behind, so the
/// transaction may go on.
fn is_data_exception(code: PgSqlErrorCode) -> bool {
    // Postgres packs a SQLSTATE with six bits a character; the first two are the class.
    const CLASS: isize = (1 << 12) - 1;
    code as isize & CLASS == PgSqlErrorCode::ERRCODE_DATA_EXCEPTION as isize & CLASS
}
