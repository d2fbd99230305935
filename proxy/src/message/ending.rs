//! Why the proxy ends a session.

/// The reasons for which the proxy ends a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The peer said goodbye, and Postgres knows.
    Goodbye,
    /// The peer sent something that cannot be read.
    Malformed(Malformed),
    /// A request of the peer was refused. The peer was told why.
    Refused,
    /// The proxy shuts down.
    Shutdown,
    /// Postgres stays away from this proxy.
    Shed,
    /// A newer session of the peer took over.
    Superseded,
    /// An operator revoked the peer.
    Revoked,
    /// It or its key has expired.
    Expired,
    /// Its key has as many peers as it may.
    Full,
    /// An operator ended the session. The peer may connect again.
    Disconnected,
    /// The extension no longer believes the number of the session.
    Unproved,
    /// The extension ended it for a reason that this proxy does not know.
    Unknown,
}

impl Ending {
    /// What a peer is told of it.
    pub fn words(&self) -> &'static str {
        match self {
            Self::Goodbye => "disconnected",
            Self::Malformed(_) | Self::Refused => "refused",
            Self::Shutdown => "proxy shuts down",
            Self::Shed => "Postgres is away, try another proxy",
            Self::Superseded => "superseded",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Full => "the key has as many peers as it may",
            Self::Disconnected => "an operator ended the session, connect again",
            Self::Unproved => "the number of the session is not proved, connect again",
            Self::Unknown => "ended by the database",
        }
    }

    /// Whether the peer, the proxy or an operator wanted it. All others are errors.
    pub fn is_wanted(&self) -> bool {
        matches!(
            self,
            Self::Goodbye | Self::Shutdown | Self::Superseded | Self::Revoked | Self::Expired | Self::Disconnected
        )
    }
}

/// Input of a peer that a codec cannot read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct Malformed {
    /// How far the codec came.
    pub kind: MalformedKind,
    /// What was wrong, and what was expected.
    pub problem: String,
}

/// How far a codec came with input that it cannot read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MalformedKind {
    /// A message of a type that the wire format does not have.
    Framing,
    /// A message over the limit.
    TooLarge,
    /// A message that breaks the syntax of the wire format.
    Syntax,
    /// A message that can be parsed and is no request.
    Form,
}
