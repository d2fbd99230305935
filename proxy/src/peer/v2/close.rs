//! The close frame that ends a connection. Go programs know 1000 and 1011 only; the text is for people.

use crate::message::{Ending, Malformed, MalformedKind};

/// The status code of the close frame.
pub fn code(ending: &Ending) -> u16 {
    match ending {
        Ending::Malformed(Malformed { kind: MalformedKind::Framing, .. }) => 1003,
        Ending::Malformed(Malformed { kind: MalformedKind::Syntax, .. }) => 1002,
        Ending::Malformed(Malformed { kind: MalformedKind::TooLarge, .. }) => 1009,
        ending if ending.is_wanted() => 1000,
        _ => 1011,
    }
}

/// What the peer is told of an ending: the text of the close frame, and the error of the call.
pub fn words(ending: &Ending) -> &str {
    match ending {
        Ending::Goodbye => "disconnected",
        Ending::Malformed(malformed) => &malformed.problem,
        Ending::Refused => "refused",
        Ending::Shutdown => "the proxy shuts down",
        Ending::Shed => "Postgres is away, try another proxy",
        Ending::Superseded => "superseded by a newer connection of the same peer",
        Ending::Revoked => "the token was revoked",
        Ending::Expired => "the token has expired",
        Ending::Full => "the key has as many peers as it may",
        Ending::Unproved => "the number of the session is not proved, connect again",
        Ending::Unknown => "ended by the database",
    }
}
