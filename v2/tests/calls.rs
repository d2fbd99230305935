//! Both sides of calls, put together.

use proptest::prelude::*;
use tailnet_v2::{
    caller::{self, Caller, Failure},
    calls::{Broken, Calls, Event, MAX_CALLS, MAX_HELD, MAX_MESSAGE},
    drpc::{Kind, Writer},
    yamux::{Session, Side},
};

/// What the answering side hears of what the caller has sent.
fn heard(caller: &mut Caller, calls: &mut Calls) -> Vec<Event> {
    let mut events = Vec::new();
    calls.receive(&caller.take_output(), &mut events).expect("the caller breaks no rule");
    events
}

/// What the caller hears of what the answering side has sent.
fn answered(caller: &mut Caller, calls: &mut Calls) -> Vec<caller::Event> {
    let mut events = Vec::new();
    caller.receive(&calls.take_output(), &mut events).expect("the answering side breaks no rule");
    events
}

fn both() -> (Caller, Calls) {
    (Caller::default(), Calls::default())
}

#[test]
fn a_unary_call_is_asked_answered_and_over() {
    let (mut caller, mut calls) = both();
    for n in 0..3 * MAX_CALLS {
        let call = caller.ask("/a/B", b"question");
        let events = heard(&mut caller, &mut calls);
        let [Event::Invoked(1.., path), Event::Message(_, message), Event::Sent(_)] = &events[..] else {
            panic!("{n}: {events:?}")
        };
        assert_eq!((path.as_str(), message.as_slice()), ("/a/B", &b"question"[..]));
        calls.release(call, message.len());
        calls.answer(call, b"answer");
        let expected = [caller::Event::Message(call, b"answer".to_vec()), caller::Event::Closed(call)];
        assert_eq!(answered(&mut caller, &mut calls), expected);
        assert_eq!(heard(&mut caller, &mut calls), [], "its end needs no attention");
    }
}

#[test]
fn b116_an_unknown_method_gets_code_12_and_disturbs_no_other_call() {
    let (mut caller, mut calls) = both();
    let stream = caller.call("/a/Stream");
    let unknown = caller.ask("/a/\"No", &[]);
    heard(&mut caller, &mut calls);
    calls.unknown(unknown, "/a/\"No");
    calls.send(stream, b"news");
    let failure = Failure { code: 12, text: r#"unknown rpc: "/a/\"No""#.to_owned() };
    let expected = [caller::Event::Failed(unknown, failure), caller::Event::Message(stream, b"news".to_vec())];
    assert_eq!(answered(&mut caller, &mut calls), expected);
    caller.send(stream, b"more");
    assert!(matches!(heard(&mut caller, &mut calls)[..], [Event::Message(3, _)] | [Event::Message(1, _)]));
}

#[test]
fn a_cancelled_call_is_gone() {
    let (mut caller, mut calls) = both();
    let call = caller.call("/a/Stream");
    heard(&mut caller, &mut calls);
    caller.cancel(call);
    assert_eq!(heard(&mut caller, &mut calls), [Event::Ended(call)]);
    calls.send(call, b"too late");
    calls.close(call);
    assert_eq!(answered(&mut caller, &mut calls), []);
}

#[test]
fn a_call_that_breaks_a_rule_fails_alone() {
    let (mut caller, mut calls) = both();
    let good = caller.call("/a/Stream");
    let bad = caller.call("/a/Stream");
    caller.ask("/a/B", &[]);
    heard(&mut caller, &mut calls);
    // A message before the path.
    let mut session = Session::new(Side::Client, 0);
    for _ in 0..4 {
        session.open();
    }
    session.take_output();
    session.send(bad, &Writer::default().packet(Kind::Message, b"again"));
    let mut events = Vec::new();
    calls.receive(&session.take_output(), &mut events).expect("yamux is right");
    assert_eq!(events, [Event::Ended(bad)]);
    let answers = answered(&mut caller, &mut calls);
    let [caller::Event::Failed(call, failure)] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!(*call, bad);
    assert!(failure.text.starts_with("protocol error: frame of packet 1 after packet 1"), "{}", failure.text);
    caller.send(good, b"more");
    assert!(matches!(heard(&mut caller, &mut calls)[..], [Event::Message(call, _)] if call == good));
}

#[test]
fn messages_are_held_up_to_a_bound_over_all_calls() {
    let (mut caller, mut calls) = both();
    let one = caller.call("/a/Stream");
    caller.send(one, &vec![1; MAX_MESSAGE]);
    let events = heard(&mut caller, &mut calls);
    let [Event::Invoked(..), Event::Message(_, message)] = &events[..] else { panic!("the largest message comes") };
    // It is still held.
    let two = caller.call("/a/Stream");
    caller.send(two, &[]);
    let mut later = Vec::new();
    assert_eq!(calls.receive(&caller.take_output(), &mut later), Err(Broken::Held));
    let mut said = Vec::new();
    caller.receive(&calls.take_output(), &mut said).expect("it is told");
    assert_eq!(said, [caller::Event::GoAway]);
    calls.release(one, message.len());
}

#[test]
fn a_message_that_is_too_large_ends_its_call() {
    let (mut caller, mut calls) = both();
    let call = caller.call("/a/Stream");
    caller.send(call, &vec![1; MAX_MESSAGE + 1]);
    let events = heard(&mut caller, &mut calls);
    assert!(matches!(events[..], [Event::Invoked(..), Event::Ended(_)]), "{events:?}");
    // Nothing of it is held: another one of the largest fits.
    let call = caller.call("/a/Stream");
    caller.send(call, &vec![1; MAX_MESSAGE]);
    assert!(matches!(heard(&mut caller, &mut calls)[..], [Event::Invoked(..), Event::Message(..)]));
}

#[test]
fn released_messages_make_room_for_ever() {
    let (mut caller, mut calls) = both();
    let call = caller.call("/a/Stream");
    let mut total = 0;
    while total < 8 * MAX_HELD {
        caller.send(call, &vec![1; 50_000]);
        for event in heard(&mut caller, &mut calls) {
            if let Event::Message(_, message) = event {
                total += message.len();
                calls.release(call, message.len());
            }
        }
        answered(&mut caller, &mut calls);
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_or_hold_more_than_it_may(
        pieces in proptest::collection::vec(
            prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..60),
                (0..3u8, 0..16u16, 0..6u32, proptest::collection::vec(0..20u8, 0..40)).prop_map(|(kind, flags, stream, body)| {
                    let mut bytes = [&[0, kind][..], &flags.to_be_bytes(), &stream.to_be_bytes(), &(body.len() as u32).to_be_bytes()].concat();
                    if kind == 0 { bytes.extend(body) }
                    bytes
                }),
            ],
            0..30,
        ),
    ) {
        let mut calls = Calls::default();
        let mut events = Vec::new();
        for piece in pieces {
            if calls.receive(&piece, &mut events).is_err() {
                break;
            }
        }
        for event in events {
            if let Event::Message(call, message) = event {
                calls.release(call, message.len());
            }
        }
    }
}
