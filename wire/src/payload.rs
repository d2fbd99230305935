//! Events cut into NOTIFY payloads, and put together again.
//!
//! The events of one transaction for one coordinator are one *message*: a JSON array, cut into as few payloads as
//! fit, so an event may be larger than a payload. Each payload reads `<message>.<part>/<parts> <text>`. The numbers
//! make it unique: Postgres drops an exact repeat within a transaction, which would undo "lost, bound, lost".
//! NOTIFY delivers the payloads of a transaction in order with none of another's between them, so the reader needs
//! no more than one buffer.

use std::fmt::Write as _;

use serde_json::value::RawValue;

use crate::event::Event;

/// The longest payload in bytes: NOTIFY refuses 8,000 and more (`NOTIFY_PAYLOAD_MAX_LENGTH` in async.c).
pub const MAX_PAYLOAD: usize = 7_999;

/// Room for `<message>.<part>/<parts> ` with three numbers of up to ten digits.
const MAX_HEADER: usize = 33;

/// Cuts a message into payloads: events that are JSON already. `message` must differ between the messages of one
/// transaction.
pub fn pack(message: u32, events: &[impl AsRef<str>]) -> Vec<String> {
    let mut text = String::with_capacity(2 + events.iter().map(|event| event.as_ref().len() + 1).sum::<usize>());
    text.push('[');
    for (place, event) in events.iter().enumerate() {
        if place > 0 {
            text.push(',');
        }
        text.push_str(event.as_ref());
    }
    text.push(']');
    let chunks = chunks(&text, MAX_PAYLOAD - MAX_HEADER);
    let parts = chunks.len();
    chunks
        .into_iter()
        .enumerate()
        .map(|(i, chunk)| {
            let mut payload = String::with_capacity(MAX_HEADER + chunk.len());
            write!(payload, "{message}.{}/{parts} {chunk}", i + 1).expect("a String takes any text");
            payload
        })
        .collect()
}

/// Pieces of at most `max` bytes, cut between characters.
fn chunks(mut text: &str, max: usize) -> Vec<&str> {
    let mut pieces = Vec::with_capacity(text.len() / max + 1);
    while text.len() > max {
        let (head, tail) = text.split_at(text.floor_char_boundary(max));
        pieces.push(head);
        text = tail;
    }
    pieces.push(text);
    pieces
}

/// A payload that does not continue the log. The reader must doubt all that it knows and start again.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// Not `<message>.<part>/<parts> <text>`.
    #[error("payload has no header <message>.<part>/<parts>: {0:?}")]
    Header(String),
    /// A part is missing: the log has a gap.
    #[error("message {message} part {part} arrived where part {expected} was expected")]
    Gap {
        /// The message of the payload.
        message: u32,
        /// The part it brought.
        part: usize,
        /// The part that had to come next.
        expected: usize,
    },
    /// The text is not an array of events.
    #[error("message is not an array of events")]
    Events(#[from] serde_json::Error),
}

/// Puts payloads together again, in the order in which they were delivered.
#[derive(Debug, Default)]
pub struct Assembler {
    message: u32,
    parts_seen: usize,
    text: String,
    unknown: u64,
}

impl Assembler {
    /// Takes the next payload, and returns the events when it was the last one of its message.
    ///
    /// # Errors
    /// When the payload does not continue what came before; nothing further can be trusted then.
    pub fn push(&mut self, payload: &str) -> Result<Option<Vec<Event>>, PayloadError> {
        let (message, part, parts, chunk) =
            split(payload).ok_or_else(|| PayloadError::Header(payload.chars().take(MAX_HEADER).collect()))?;
        let expected = self.parts_seen + 1;
        if part != expected || (part > 1 && message != self.message) {
            return Err(PayloadError::Gap { message, part, expected });
        }
        self.message = message;
        if part < parts {
            self.parts_seen = part;
            self.text.push_str(chunk);
            return Ok(None);
        }
        self.parts_seen = 0;
        if part == 1 {
            return Ok(Some(self.events(chunk)?));
        }
        // A large message leaves no large buffer behind.
        let mut text = std::mem::take(&mut self.text);
        text.push_str(chunk);
        Ok(Some(self.events(&text)?))
    }

    /// How many events were left out since this was last asked, because a newer extension wrote them.
    pub fn take_unknown(&mut self) -> u64 {
        std::mem::take(&mut self.unknown)
    }

    fn events(&mut self, text: &str) -> Result<Vec<Event>, serde_json::Error> {
        match serde_json::from_str(text) {
            Ok(events) => Ok(events),
            Err(error) => self.known_events(text).ok_or(error),
        }
    }

    /// The events that this version knows; None: something is wrong with one of them. A newer extension may write events, and
    /// variants in their fields, that did not exist when this was built.
    fn known_events(&mut self, text: &str) -> Option<Vec<Event>> {
        let mut known = Vec::new();
        for entry in serde_json::from_str::<Vec<&RawValue>>(text).ok()? {
            match serde_json::from_str(entry.get()) {
                Ok(event) => known.push(event),
                Err(error) if error.to_string().starts_with("unknown variant") => self.unknown += 1,
                Err(_) => return None,
            }
        }
        Some(known)
    }
}

fn split(payload: &str) -> Option<(u32, usize, usize, &str)> {
    let (header, chunk) = payload.split_once(' ')?;
    let (message, place) = header.split_once('.')?;
    let (part, parts) = place.split_once('/')?;
    Some((message.parse().ok()?, part.parse().ok()?, parts.parse().ok()?, chunk))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::{
        event::{Binding, Ending},
        fields::Digest,
        node::Node,
    };

    fn changed(node: &str) -> Event {
        let node = Node::new(node.to_owned()).expect("JSON");
        Event::Changed { id: Uuid::from_u128(7), binding: Binding::Ok { digest: Digest(3), node } }
    }

    fn packed(message: u32, events: &[Event]) -> Vec<String> {
        let texts: Vec<_> = events.iter().map(Event::to_json).collect();
        pack(message, &texts)
    }

    proptest! {
        #[test]
        fn any_events_survive_any_cut(texts in prop::collection::vec("[a-zé漢😀\"\\\\]{0,6000}", 1..6)) {
            let events: Vec<_> =
                texts.iter().map(|t| changed(&serde_json::to_string(t).expect("JSON"))).collect();
            let payloads = packed(4_000_000_000, &events);
            let mut assembler = Assembler::default();
            let mut got = None;
            for (i, payload) in payloads.iter().enumerate() {
                prop_assert!(payload.len() <= MAX_PAYLOAD);
                got = assembler.push(payload).expect("in order");
                prop_assert_eq!(got.is_some(), i + 1 == payloads.len());
            }
            let text = |e: &[Event]| serde_json::to_string(e).expect("JSON");
            prop_assert_eq!(text(&got.expect("whole")), text(&events));
        }
    }

    #[test]
    fn what_a_newer_extension_writes_is_left_out_and_counted() {
        let newer = "[\"moved\",{\"moved\":{\"id\":7}},\"settled\",\
                     {\"refused\":{\"id\":\"00000000-0000-0000-0000-000000000007\",\"session\":1,\"why\":{\"late\":3}}}]";
        let mut assembler = Assembler::default();
        let known = assembler.push(&format!("1.1/1 {newer}")).expect("in order").expect("whole");
        assert!(matches!(known.as_slice(), [Event::Settled]));
        assert_eq!((assembler.take_unknown(), assembler.take_unknown()), (3, 0));
        for wrong in ["[{\"closed\":{\"src\":7}}]", "[7]", "[\"settled\"", "{}"] {
            assert!(matches!(assembler.push(&format!("2.1/1 {wrong}")), Err(PayloadError::Events(_))), "{wrong}");
        }
    }

    #[test]
    fn an_ending_for_an_unknown_reason_ends_the_session() {
        let ended =
            "1.1/1 [{\"ended\":{\"id\":\"00000000-0000-0000-0000-000000000007\",\"session\":1,\"why\":\"later\"}}]";
        let events = Assembler::default().push(ended).expect("in order").expect("whole");
        assert!(matches!(events.as_slice(), [Event::Ended { session: 1, why: Ending::Unknown, .. }]));
    }

    #[test]
    fn a_missing_part_is_a_gap() {
        let payloads = packed(1, &[changed(&format!("\"{}\"", "x".repeat(20_000)))]);
        assert_eq!(payloads.len(), 3);
        let mut assembler = Assembler::default();
        assembler.push(&payloads[0]).expect("first");
        assert!(matches!(assembler.push(&payloads[2]), Err(PayloadError::Gap { part: 3, expected: 2, .. })));
    }

    #[test]
    fn a_part_of_another_message_is_a_gap() {
        let event = [changed(&format!("\"{}\"", "x".repeat(10_000)))];
        let (one, two) = (packed(1, &event), packed(2, &event));
        let mut assembler = Assembler::default();
        assembler.push(&one[0]).expect("first");
        assert!(matches!(assembler.push(&two[1]), Err(PayloadError::Gap { message: 2, .. })));
    }

    #[test]
    fn a_foreign_payload_is_named() {
        let error = Assembler::default().push("hello").expect_err("no header");
        assert_eq!(error.to_string(), "payload has no header <message>.<part>/<parts>: \"hello\"");
    }
}
