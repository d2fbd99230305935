//! Times on the command line.

use std::time::Duration;

/// Sums of these are times that the clock knows.
const LONGEST: Duration = Duration::from_secs(1000 * 24 * 60 * 60);

/// Reads a time such as `10s` or `1m 30s`.
///
/// # Errors
/// When it is none, or too long.
pub fn time(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if time <= LONGEST => Ok(time),
        Ok(_) => Err(format!("expected at most {}", humantime::format_duration(LONGEST))),
        Err(error) => Err(error.to_string()),
    }
}

/// Reads a time above zero.
///
/// # Errors
/// When it is none.
pub fn interval(text: &str) -> Result<Duration, String> {
    match time(text)? {
        Duration::ZERO => Err("expected a time that is not zero".to_owned()),
        interval => Ok(interval),
    }
}
