//! Whatever bytes come, a session of yamux neither panics nor gives out more than it was given.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tailnet_v2::yamux::{Event, Session, Side, WINDOW};

const STREAMS: usize = 16;

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, bytes) = input;
    let mut session = Session::new(Side::Server, STREAMS);
    let mut held = Vec::new();
    let mut output = 0;
    for mut piece in bytes.chunks(usize::from(piece) + 1) {
        loop {
            match session.receive(&mut piece) {
                Ok(Some(Event::Data(stream, data))) => {
                    held.push((stream, data.len()));
                    session.send(stream, data);
                }
                Ok(Some(Event::Finished(stream))) => session.finish(stream),
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
        let all: usize = held.iter().map(|(_, length)| length).sum();
        assert!(all <= STREAMS * WINDOW as usize || held.len() > STREAMS, "more is held than the windows allow");
        if all > WINDOW as usize / 2 {
            held.drain(..).for_each(|(stream, length)| session.release(stream, length));
        }
        output += session.take_output().len();
    }
    // At worst each byte comes alone, and goes back with a header.
    assert!(output <= 16 * bytes.len() + 1024, "{output} bytes answer {} bytes", bytes.len());
});
