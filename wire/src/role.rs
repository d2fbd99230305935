//! What a peer may be.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The role of an identity. It decides which nodes it may announce and which tunnels it may open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A workspace or a server: is reached, opens no tunnels, has addresses that follow from its id.
    Agent,
    /// A user's device: opens tunnels to the agents that it was granted.
    Client,
    /// Infrastructure of the operator: opens tunnels to any peer of its network.
    Hub,
}

impl Role {
    /// The word for the role in SQL and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Client => "client",
            Self::Hub => "hub",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no [`Role`].
#[derive(Debug, thiserror::Error)]
#[error("unknown role {0:?}, expected agent, client or hub")]
pub struct UnknownRole(pub String);

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(word: &str) -> Result<Self, UnknownRole> {
        match word {
            "agent" => Ok(Self::Agent),
            "client" => Ok(Self::Client),
            "hub" => Ok(Self::Hub),
            other => Err(UnknownRole(other.to_owned())),
        }
    }
}
