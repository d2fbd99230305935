//! An error with its causes, in one line: the JSON form of a log shows only what an error itself says.

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

    #[test]
    fn all_causes_are_shown() {
        let error = crate::run::StartError::Bind {
            address: ([127, 0, 0, 1], 80).into(),
            source: std::io::Error::other("in use"),
        };
        assert_eq!(Chain(&error).to_string(), "cannot listen on 127.0.0.1:80: in use");
    }
}
