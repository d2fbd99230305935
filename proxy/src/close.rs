//! Why a websocket is closed: the codes of docs/protocol.md.

/// The reasons for which the proxy closes a websocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// After a graceful disconnect.
    Goodbye,
    /// A binary frame.
    Binary,
    /// A text that is not JSON.
    NotJson,
    /// A frame of the wrong form, or a request that was refused.
    Policy,
    /// A message that is too large.
    TooLarge,
    /// The proxy shuts down.
    Shutdown,
    /// Postgres stays away from this proxy.
    Shed,
    /// A newer session of the peer took over.
    Superseded,
    /// The identity was revoked.
    Revoked,
}

impl Close {
    /// The status code of the close frame.
    pub fn code(self) -> u16 {
        match self {
            Self::Goodbye => 1000,
            Self::Binary => 1003,
            Self::NotJson => 1007,
            Self::Policy => 1008,
            Self::TooLarge => 1009,
            Self::Shutdown => 1012,
            Self::Shed => 1013,
            Self::Superseded => 4001,
            Self::Revoked => 4003,
        }
    }

    /// The text of the close frame.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Goodbye => "disconnected",
            Self::Binary => "binary frame",
            Self::NotJson => "not JSON",
            Self::Policy => "refused",
            Self::TooLarge => "message too large",
            Self::Shutdown => "proxy shuts down",
            Self::Shed => "Postgres is away, try another proxy",
            Self::Superseded => "superseded",
            Self::Revoked => "revoked",
        }
    }
}
