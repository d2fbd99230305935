//! Whatever bytes come, the answering side of a connection neither panics nor holds more than it may.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tailnet_v2::calls::{Calls, Event, MAX_HELD};

fuzz_target!(|input: (u8, bool, &[u8])| {
    let (piece, releases, bytes) = input;
    let mut calls = Calls::default();
    let mut held = 0;
    for piece in bytes.chunks(usize::from(piece) + 1) {
        let mut events = Vec::new();
        let result = calls.receive(piece, &mut events);
        for event in events {
            match event {
                Event::Message(call, message) if releases => {
                    calls.release(call, message.len());
                    calls.send(call, &message);
                }
                Event::Message(_, message) => held += message.len(),
                Event::Invoked(call, path) if path.len() % 3 == 0 => calls.unknown(call, &path),
                Event::Sent(call) => calls.close(call),
                _ => {}
            }
        }
        if result.is_err() {
            return;
        }
        assert!(held <= MAX_HELD, "{held} bytes are held");
        drop(calls.take_output());
    }
});
