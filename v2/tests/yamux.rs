//! Yamux, byte by byte and in any pieces.

use proptest::prelude::*;
use tailnet_v2::yamux::{Event, GoAway, Session, Side, Violation, WINDOW};

/// What a session says, with its data copied.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    Opened(u32),
    Data(u32, Vec<u8>),
    Finished(u32),
    Reset(u32),
    Ping,
    GoAway(u32),
}

fn read(session: &mut Session, mut input: &[u8]) -> Result<Vec<Said>, Violation> {
    let mut said = Vec::new();
    while let Some(event) = session.receive(&mut input)? {
        said.push(match event {
            Event::Opened(stream) => Said::Opened(stream),
            Event::Data(stream, bytes) => Said::Data(stream, bytes.to_vec()),
            Event::Finished(stream) => Said::Finished(stream),
            Event::Reset(stream) => Said::Reset(stream),
            Event::Ping => Said::Ping,
            Event::GoAway(code) => Said::GoAway(code),
        });
    }
    assert!(input.is_empty(), "all is read");
    Ok(said)
}

fn frame(kind: u8, flags: u16, stream: u32, length: u32) -> Vec<u8> {
    [&[0, kind][..], &flags.to_be_bytes(), &stream.to_be_bytes(), &length.to_be_bytes()].concat()
}

const DATA: u8 = 0;
const WINDOW_UPDATE: u8 = 1;
const PING: u8 = 2;
const SYN: u16 = 1;
const ACK: u16 = 2;
const FIN: u16 = 4;
const RST: u16 = 8;

fn server() -> Session {
    Session::new(Side::Server, 16)
}

/// A server on which streams 1, 3, … are open.
fn opened(count: u32) -> Session {
    let mut session = server();
    for n in 0..count {
        read(&mut session, &frame(WINDOW_UPDATE, SYN, 2 * n + 1, 0)).expect("it opens");
    }
    session.take_output();
    session
}

#[test]
fn b111_a_stream_is_acknowledged_at_once_and_a_ping_is_answered_with_its_value() {
    let mut session = server();
    assert_eq!(read(&mut session, &frame(WINDOW_UPDATE, SYN, 1, 0)), Ok(vec![Said::Opened(1)]));
    assert_eq!(session.take_output(), frame(WINDOW_UPDATE, ACK, 1, 0));
    assert_eq!(read(&mut session, &frame(PING, SYN, 0, 77)), Ok(vec![Said::Ping]));
    assert_eq!(session.take_output(), frame(PING, ACK, 0, 77));
    session.ping();
    session.ping();
    assert_eq!(session.take_output(), [frame(PING, SYN, 0, 0), frame(PING, SYN, 0, 1)].concat());
    assert_eq!(read(&mut session, &frame(PING, ACK, 0, 0)), Ok(vec![Said::Ping]));
    assert_eq!(session.output(), 0);
}

#[test]
fn a_stream_may_open_bring_data_and_finish_in_one_frame() {
    let mut session = server();
    let bytes = [frame(DATA, SYN | FIN, 1, 2), b"hi".to_vec()].concat();
    let said = vec![Said::Opened(1), Said::Data(1, b"hi".to_vec()), Said::Finished(1)];
    assert_eq!(read(&mut session, &bytes), Ok(said));
}

#[test]
fn half_closes_come_in_each_order() {
    for peer_first in [true, false] {
        let mut session = opened(1);
        let peer = |session: &mut Session| {
            assert_eq!(read(session, &frame(WINDOW_UPDATE, FIN, 1, 0)), Ok(vec![Said::Finished(1)]));
        };
        if peer_first {
            peer(&mut session);
            session.send(1, b"still");
            session.finish(1);
        } else {
            session.send(1, b"still");
            session.finish(1);
            session.send(1, b"too late");
            assert_eq!(
                read(&mut session, &[frame(DATA, 0, 1, 1), b"x".to_vec()].concat()),
                Ok(vec![Said::Data(1, b"x".to_vec())])
            );
            peer(&mut session);
        }
        let sent = [frame(DATA, 0, 1, 5), b"still".to_vec(), frame(WINDOW_UPDATE, FIN, 1, 0)].concat();
        assert_eq!(session.take_output(), sent);
        // The stream is forgotten: its number may come again.
        assert_eq!(read(&mut session, &frame(WINDOW_UPDATE, SYN, 1, 0)), Ok(vec![Said::Opened(1)]));
    }
}

#[test]
fn a_window_bounds_what_is_sent_and_the_rest_follows() {
    let mut session = opened(2);
    let long = vec![7; WINDOW as usize + 10];
    session.send(1, &long);
    session.send(1, b"more");
    session.finish(1);
    assert_eq!(session.take_output().len(), 12 + WINDOW as usize);
    assert!(session.waits(1));
    session.send(3, b"other");
    assert_eq!(session.take_output(), [frame(DATA, 0, 3, 5), b"other".to_vec()].concat(), "other streams go on");
    assert_eq!(read(&mut session, &frame(WINDOW_UPDATE, 0, 1, 4)), Ok(vec![]));
    assert_eq!(session.take_output(), [frame(DATA, 0, 1, 4), vec![7; 4]].concat());
    read(&mut session, &frame(WINDOW_UPDATE, 0, 1, 100)).expect("a window");
    let rest = [frame(DATA, 0, 1, 10), vec![7; 6], b"more".to_vec(), frame(WINDOW_UPDATE, FIN, 1, 0)].concat();
    assert_eq!(session.take_output(), rest);
    assert!(!session.waits(1));
}

#[test]
fn released_bytes_are_granted_again_by_half_windows() {
    let mut session = opened(1);
    let half = WINDOW / 2;
    let bytes = [frame(DATA, 0, 1, WINDOW), vec![1; WINDOW as usize]].concat();
    read(&mut session, &bytes).expect("as much as the window");
    session.release(1, half as usize - 1);
    assert_eq!(session.output(), 0);
    session.release(1, 1);
    assert_eq!(session.take_output(), frame(WINDOW_UPDATE, 0, 1, half));
    let more = frame(DATA, 0, 1, half + 1);
    let overrun = Violation::Window { stream: 1, length: half + 1, window: half };
    assert_eq!(read(&mut session, &more), Err(overrun));
}

#[test]
fn streams_over_the_limit_are_reset_and_their_data_is_thrown_away() {
    let mut session = opened(16);
    let bytes = [frame(DATA, SYN, 99, 3), b"abc".to_vec(), frame(PING, SYN, 0, 1)].concat();
    assert_eq!(read(&mut session, &bytes), Ok(vec![Said::Ping]));
    assert_eq!(session.take_output(), [frame(WINDOW_UPDATE, RST, 99, 0), frame(PING, ACK, 0, 1)].concat());
    assert_eq!(read(&mut session, &frame(WINDOW_UPDATE, RST, 5, 0)), Ok(vec![Said::Reset(5)]));
    assert_eq!(read(&mut session, &frame(WINDOW_UPDATE, SYN, 99, 0)), Ok(vec![Said::Opened(99)]));
}

#[test]
fn frames_of_unknown_streams_are_ignored() {
    let mut session = server();
    let bytes = [frame(DATA, FIN, 7, 2), b"ab".to_vec(), frame(WINDOW_UPDATE, RST, 9, u32::MAX)].concat();
    assert_eq!(read(&mut session, &bytes), Ok(vec![]));
    assert_eq!(session.output(), 0);
}

#[test]
fn what_breaks_a_rule_is_named() {
    for (bytes, violation) in [
        ([&[9][..], &frame(DATA, 0, 1, 0)[1..]].concat(), Violation::Version(9)),
        (frame(4, 0, 1, 0), Violation::Kind(4)),
        (frame(WINDOW_UPDATE, SYN, 1, 0), Violation::OpenedTwice(1)),
        (frame(WINDOW_UPDATE, SYN, 2, 0), Violation::WrongSide(2)),
        (frame(WINDOW_UPDATE, SYN, 0, 0), Violation::WrongSide(0)),
        (frame(WINDOW_UPDATE, 0, 1, u32::MAX), Violation::WindowOverflow(1)),
        (frame(DATA, 0, 1, u32::MAX), Violation::Window { stream: 1, length: u32::MAX, window: WINDOW }),
    ] {
        assert_eq!(read(&mut opened(1), &bytes), Err(violation), "{violation}");
    }
    let pings = frame(PING, SYN, 0, 1).repeat(30_000);
    assert!(matches!(read(&mut opened(1), &pings), Err(Violation::Flood(_))));
    let mut session = opened(0);
    session.go_away(GoAway::Violation);
    assert_eq!(session.take_output(), frame(3, 0, 0, 1));
}

#[test]
fn two_sessions_understand_each_other() {
    let (mut client, mut server) = (Session::new(Side::Client, 0), server());
    let (one, two) = (client.open(), client.open());
    assert_eq!((one, two), (1, 3));
    client.send(one, b"question");
    client.finish(one);
    let said = read(&mut server, &client.take_output()).expect("they agree");
    let expected = [Said::Opened(1), Said::Opened(3), Said::Data(1, b"question".to_vec()), Said::Finished(1)];
    assert_eq!(said, expected);
    server.send(one, b"answer");
    server.finish(one);
    server.reset(two);
    let said = read(&mut client, &server.take_output()).expect("they agree");
    assert_eq!(said, [Said::Data(1, b"answer".to_vec()), Said::Finished(1), Said::Reset(3)]);
}

/// Frames that a peer may send, and some that it may not.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let small = prop_oneof![4 => 0..20u32, 1 => any::<u32>()];
    let one = (0..5u8, 0..16u16, 0..8u32, small, 0..30usize).prop_map(|(kind, flags, stream, length, body)| {
        let body = if kind == DATA && length < 20 { length as usize } else { body };
        let mut bytes = frame(kind, flags, stream, length);
        if kind == DATA {
            bytes.extend(std::iter::repeat_n(kind, body));
        }
        bytes
    });
    proptest::collection::vec(one, 0..20).prop_map(|frames| frames.concat())
}

/// Data that came in several pieces, in one.
fn joined(said: Vec<Said>) -> Vec<Said> {
    let mut joined: Vec<Said> = Vec::new();
    for said in said {
        match (joined.last_mut(), said) {
            (Some(Said::Data(last, bytes)), Said::Data(stream, more)) if *last == stream => bytes.extend(more),
            (_, said) => joined.push(said),
        }
    }
    joined
}

proptest! {
    #[test]
    fn any_split_of_the_bytes_means_the_same(bytes in frames(), cuts in proptest::collection::vec(0..200usize, 0..12)) {
        let mut whole = server();
        let expected = read(&mut whole, &bytes).map(joined);
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).chain([0, bytes.len()]).collect();
        cuts.sort_unstable();
        let mut session = server();
        let mut said = Ok(Vec::new());
        for pair in cuts.windows(2) {
            let Ok(all) = said.as_mut() else { break };
            match read(&mut session, &bytes[pair[0]..pair[1]]) {
                Ok(more) => all.extend(more),
                Err(violation) => said = Err(violation),
            }
        }
        prop_assert_eq!(said.map(joined), expected);
        prop_assert_eq!(session.take_output(), whole.take_output());
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&mut server(), &bytes);
    }
}
