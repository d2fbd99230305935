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
        Ending::Malformed(malformed) => &malformed.problem,
        ending => ending.words(),
    }
}
