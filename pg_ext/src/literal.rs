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

/// Reads a type from a string.
struct Literal {
    read: fn(&str) -> Result<Datum, String>,
    expected: &'static str,
}

impl de::Visitor<'_> for Literal {
    type Value = Datum;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Datum, E> {
        (self.read)(text).map_err(E::custom)
    }
}

fn time(text: &str) -> Result<Datum, String> {
    utc(text.as_bytes()).map_or_else(|| read(pg_sys::timestamptz_in, text), |time| Ok(time.into()))
}

/// A time as most programs write it, such as `2026-01-31T08:05:09.25Z`: the same as what Postgres reads, for a tenth of
/// the time. None: Postgres is to say what it is.
fn utc(text: &[u8]) -> Option<i64> {
    const DAYS: [i64; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let (fields, rest) = text.split_first_chunk::<19>()?;
    let [_, _, _, _, b'-', _, _, b'-', _, _, b'T', _, _, b':', _, _, b':', _, _] = fields else { return None };
    let (year, month, day) = (number(&fields[..4])?, number(&fields[5..7])?, number(&fields[8..10])?);
    let (hour, minute, second) = (number(&fields[11..13])?, number(&fields[14..16])?, number(&fields[17..])?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = DAYS.get(usize::try_from(month).ok()?.checked_sub(1)?)? + i64::from(leap && month == 2);
    if year == 0 || !(1..=length).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let micros = match rest.strip_suffix(b"Z")? {
        [] => 0,
        [b'.', digits @ ..] if (1..=6).contains(&digits.len()) => digits
            .iter()
            .chain([b'0'; 5].iter())
            .take(6)
            .try_fold(0, |micros, digit| Some(micros * 10 + number(&[*digit])?))?,
        _ => return None,
    };
    // Years that begin in March have the leap day at their end.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    // From 0000-03-01 to 2000-01-01.
    const EPOCH: i64 = 730_425;
    Some(((((days - EPOCH) * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000 + micros)
}

/// Digits only.
fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0')))
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let literal = Literal { read: time, expected: "a string with a time" };
        // SAFETY: the type is passed by value.
        let time = unsafe { i64::from_datum(deserializer.deserialize_str(literal)?, false) };
        Ok(Self(time.expect("it is not NULL")))
    }
}

impl<'de> Deserialize<'de> for Inet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let literal = Literal { read: |text| read(pg_sys::inet_in, text), expected: "a string with an address" };
        Ok(Self(deserializer.deserialize_str(literal)?))
    }
}
