//! The networks that runs make.

use std::fmt;

/// The name of one of them: `scaletest-SEED-RANDOM`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network(String);

/// Exactly those names, as a regular expression of Postgres.
pub const PATTERN: &str = "^scaletest-[0-9]+-[0-9a-f]{8}$";

impl Network {
    /// What the connections of a run call themselves, before the name of its network.
    pub const APPLICATION: &str = "tailnet-scaletest/";

    /// A name that no network has.
    pub fn new(seed: u64) -> Self {
        Self(format!("scaletest-{seed}-{:08x}", rand::random::<u32>()))
    }

    /// A name that was read.
    pub fn named(name: String) -> Self {
        Self(name)
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The `application_name` of the connections of its run: while there is one, the run is alive.
    pub fn application_name(&self) -> String {
        format!("{}{}", Self::APPLICATION, self.0)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
