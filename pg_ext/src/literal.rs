//! Values that Postgres itself reads from text, so that they mean here what they mean in SQL.

use std::{cmp::Ordering, ffi::CString, fmt};

use pgrx::{
    pg_sys::{self, Datum, panic::CaughtError},
    prelude::*,
};
use serde::{Deserialize, Deserializer, de};

/// A timestamptz: microseconds since 2000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(i64);

impl Time {
    /// One of `infinity` and `-infinity`.
    pub fn is_infinite(self) -> bool {
        self.0 == i64::MIN || self.0 == i64::MAX
    }

    /// As a parameter.
    pub fn datum(self) -> Datum {
        Datum::from(self.0)
    }
}

/// An inet, in the memory context of the call.
#[derive(Debug, Clone, Copy)]
pub struct Inet(Datum);

impl Inet {
    /// As a parameter.
    pub fn datum(self) -> Datum {
        self.0
    }
}

impl Ord for Inet {
    fn cmp(&self, other: &Self) -> Ordering {
        // SAFETY: both are inets.
        let order: Option<i32> =
            unsafe { pgrx::direct_function_call(pg_sys::network_cmp, &[Some(self.0), Some(other.0)]) };
        order.expect("it returns a number").cmp(&0)
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

type InputFunction = unsafe fn(pg_sys::FunctionCallInfo) -> Datum;

/// Reads a value with the input function of its type. The error is what Postgres says of the text.
fn read(input: InputFunction, text: &str) -> Result<Datum, String> {
    let text = CString::new(text).map_err(|_| "a value has the character U+0000".to_owned())?;
    let args = [Some(Datum::from(text.as_ptr())), Some(pg_sys::InvalidOid.into()), Some(Datum::from(-1_i32))];
    PgTryBuilder::new(|| {
        // SAFETY: what input functions take; the text outlives the call.
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

/// Whether it is of SQLSTATE class 22. An input function leaves nothing behind then, so that it is safe to go on.
fn is_data_exception(code: PgSqlErrorCode) -> bool {
    // As Postgres packs them: six bits a character.
    const CLASS: isize = (1 << 12) - 1;
    code as isize & CLASS == PgSqlErrorCode::ERRCODE_DATA_EXCEPTION as isize & CLASS
}

struct Literal {
    input: InputFunction,
    expected: &'static str,
}

impl de::Visitor<'_> for Literal {
    type Value = Datum;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Datum, E> {
        read(self.input, text).map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let literal = Literal { input: pg_sys::timestamptz_in, expected: "a string with a time" };
        // SAFETY: the type is passed by value.
        let time = unsafe { i64::from_datum(deserializer.deserialize_str(literal)?, false) };
        Ok(Self(time.expect("it is not NULL")))
    }
}

impl<'de> Deserialize<'de> for Inet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let literal = Literal { input: pg_sys::inet_in, expected: "a string with an address" };
        Ok(Self(deserializer.deserialize_str(literal)?))
    }
}
