//! Whatever bytes come, in whatever pieces: a reader of dRPC finds the same packets, and holds no more than it may.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tailnet_v2::drpc::{Packet, Reader};

const LIMIT: usize = 4096;

/// The packets, and whether the bytes broke a rule.
fn read(bytes: &[u8], piece: usize) -> (Vec<Packet>, bool) {
    let (mut reader, mut packets) = (Reader::new(LIMIT), Vec::new());
    for mut piece in bytes.chunks(piece) {
        loop {
            match reader.receive(&mut piece) {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => break,
                Err(_) => return (packets, true),
            }
            assert!(reader.held() <= LIMIT);
        }
    }
    (packets, false)
}

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, bytes) = input;
    let whole = read(bytes, bytes.len().max(1));
    assert_eq!(whole, read(bytes, usize::from(piece) + 1));
    assert!(whole.0.iter().all(|packet| packet.data.len() <= LIMIT));
});
