//! Proofs of session numbers.

use std::{fmt, sync::Arc};

/// Proves to the extension that it gave a session number. Only the extension knows what is in it.
#[derive(Clone, PartialEq, Eq)]
pub struct Proof(Arc<str>);

impl Proof {
    /// As the extension gave it.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// As the extension takes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Proof {
    /// Proves nothing.
    fn default() -> Self {
        Self::new("")
    }
}

impl fmt::Debug for Proof {
    /// Without the proof: it must not be in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proof")
    }
}
