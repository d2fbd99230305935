//! An error with its causes, in one line. The JSON form of a log and an error of Postgres show only what an error itself
//! says.

use std::{error::Error, fmt};

/// Shows an error and all that caused it.
#[derive(Debug)]
pub struct Chain<'a>(pub &'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PayloadError;

    #[test]
    fn all_causes_are_shown() {
        let cause = serde_json::from_str::<u8>("x").expect_err("not JSON");
        let text = format!("message is not an array of events: {cause}");
        assert_eq!(Chain(&PayloadError::Events(cause)).to_string(), text);
    }
}
