//! Times and addresses in JSON. Postgres reads them, so that they mean here what they mean in SQL.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

use crate::pg::input::{Inet, timestamptz};

/// A timestamptz: microseconds since 2000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub i64);

impl Time {
    /// Whether it is `infinity` or `-infinity`.
    pub fn is_infinite(self) -> bool {
        self.0 == i64::MIN || self.0 == i64::MAX
    }

    fn parse(text: &str) -> Result<Self, String> {
        utc(text.as_bytes()).map_or_else(|| timestamptz(text), Ok).map(Self)
    }
}

/// Reads a time in the form that most programs write, such as `2026-01-31T08:05:09.25Z`. The result is the same as that of
/// Postgres, in a tenth of the time. None: the text has another form, and Postgres must read it.
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
    // Count years from March on, so that a leap day is the last day of its year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    // The days from 0000-03-01 to 2000-01-01.
    const EPOCH: i64 = 730_425;
    Some(((((days - EPOCH) * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000 + micros)
}

/// The value of a text that has digits only.
fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0')))
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Literal { parse: Self::parse, expected: "a string with a time" })
    }
}

impl<'de> Deserialize<'de> for Inet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Literal { parse: Self::parse, expected: "a string with an address" })
    }
}

/// Reads a value from a string.
struct Literal<T> {
    parse: fn(&str) -> Result<T, String>,
    expected: &'static str,
}

impl<T> de::Visitor<'_> for Literal<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).map_err(E::custom)
    }
}
