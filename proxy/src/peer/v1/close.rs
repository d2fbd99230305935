//! The close frame that ends a session: docs/protocol.md, "Close codes".

use crate::message::{Ending, Malformed, MalformedKind};

/// The status code of the close frame.
pub fn code(ending: &Ending) -> u16 {
    match ending {
        Ending::Goodbye => 1000,
        Ending::Malformed(Malformed { kind: MalformedKind::Framing, .. }) => 1003,
        Ending::Malformed(Malformed { kind: MalformedKind::Syntax, .. }) => 1007,
        Ending::Malformed(Malformed { kind: MalformedKind::Form, .. }) | Ending::Refused | Ending::Full => 1008,
        Ending::Malformed(Malformed { kind: MalformedKind::TooLarge, .. }) => 1009,
        Ending::Shutdown | Ending::Disconnected | Ending::Unproved | Ending::Unknown => 1012,
        Ending::Shed => 1013,
        Ending::Superseded => 4001,
        Ending::Revoked | Ending::Expired => 4003,
    }
}

/// The text of the close frame.
pub fn reason(ending: &Ending) -> &'static str {
    match ending {
        Ending::Malformed(Malformed { kind: MalformedKind::Framing, .. }) => "binary frame",
        Ending::Malformed(Malformed { kind: MalformedKind::Syntax, .. }) => "not JSON",
        Ending::Malformed(Malformed { kind: MalformedKind::TooLarge, .. }) => "message too large",
        ending => ending.words(),
    }
}
