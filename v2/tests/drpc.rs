//! dRPC in any pieces.

use proptest::prelude::*;
use tailnet_v2::drpc::{Kind, Malformed, Packet, Reader, Writer};

const LIMIT: usize = 128 * 1024;

fn read(reader: &mut Reader, mut input: &[u8]) -> Result<Vec<Packet>, Malformed> {
    let mut packets = Vec::new();
    while let Some(packet) = reader.receive(&mut input)? {
        packets.push(packet);
    }
    Ok(packets)
}

fn once(bytes: &[u8]) -> Result<Vec<Packet>, Malformed> {
    read(&mut Reader::new(LIMIT), bytes)
}

#[test]
fn an_invoke_is_written_as_the_go_library_writes_it() {
    // From tests/recordings/client.jsonl.
    let expected = hex::decode(
        "030101282f636f6465722e7461696c6e65742e76322e5461696c6e65742f53747265616d444552504d617073\
         05010200\
         0d010300",
    )
    .expect("hexadecimal");
    let mut writer = Writer::default();
    let mut bytes = writer.packet(Kind::Invoke, b"/coder.tailnet.v2.Tailnet/StreamDERPMaps");
    bytes.extend(writer.packet(Kind::Message, &[]));
    bytes.extend(writer.packet(Kind::CloseSend, &[]));
    assert_eq!(bytes, expected);
}

#[test]
fn a_long_packet_is_cut_and_put_together() {
    let data = vec![7; 100_000];
    let bytes = Writer::default().packet(Kind::Message, &data);
    assert_eq!(bytes[0], 2 << 1, "the first frame is not the last");
    assert_eq!(once(&bytes), Ok(vec![Packet { kind: Kind::Message, data }]));
}

#[test]
fn an_error_has_its_code_before_its_text() {
    let [Packet { kind: Kind::Error, data }] = &once(&Writer::default().error(12, "no")).expect("a packet")[..] else {
        panic!("one error")
    };
    assert_eq!(data, b"\0\0\0\0\0\0\0\x0cno");
}

#[test]
fn unknown_frames_with_the_control_bit_are_ignored() {
    // Kind 60 does not exist.
    let bytes = [&[0x80 | 60 << 1 | 1, 1, 1, 2, 0xaa, 0xbb][..], &[5, 1, 1, 0]].concat();
    assert_eq!(once(&bytes).map(|packets| packets.len()), Ok(1));
    // The Go library cancels with the control bit.
    assert_eq!(once(&[0x89, 1, 1, 0]), Ok(vec![Packet { kind: Kind::Cancel, data: Vec::new() }]));
    // Between two frames of a packet too.
    let bytes = [&[4, 1, 1, 1, 7][..], &[0x81, 9, 9, 1, 0xaa], &[5, 1, 1, 1, 8]].concat();
    assert_eq!(once(&bytes), Ok(vec![Packet { kind: Kind::Message, data: vec![7, 8] }]));
}

#[test]
fn what_breaks_a_rule_is_named() {
    let large = [&[5, 1, 1][..], &[0x81, 0x80, 0x08]].concat();
    for (bytes, malformed) in [
        (&[1, 1, 1, 0][..], Malformed::Kind(0)),
        (&[8 << 1 | 1, 1, 1, 0], Malformed::Kind(8)),
        (&[5, 2, 1, 0], Malformed::Call(2)),
        (&[5, 1, 0, 0], Malformed::Order { found: 0, last: 0 }),
        (&[5, 1, 2, 0, 5, 1, 2, 0], Malformed::Order { found: 2, last: 2 }),
        (&[5, 1, 2, 0, 5, 1, 1, 0], Malformed::Order { found: 1, last: 2 }),
        (&[4, 1, 1, 0, 13, 1, 1, 0], Malformed::Changed),
        (&[4, 1, 1, 0, 5, 1, 2, 0], Malformed::Changed),
        (&[5, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2], Malformed::Varint),
        (&[5, 0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0], Malformed::Varint),
        (&large, Malformed::TooLarge(LIMIT)),
    ] {
        assert_eq!(once(bytes), Err(malformed), "{bytes:?}");
    }
    assert_eq!(
        once(&[5, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 1]),
        Ok(vec![]),
        "the call is read later"
    );
}

proptest! {
    #[test]
    fn any_split_of_the_bytes_means_the_same(
        packets in proptest::collection::vec((1..8u8, proptest::collection::vec(any::<u8>(), 0..100)), 0..8),
        flip in proptest::option::of((any::<prop::sample::Index>(), any::<u8>())),
        cuts in proptest::collection::vec(0..900usize, 0..12),
    ) {
        let kinds = [Kind::Invoke, Kind::Message, Kind::Error, Kind::Cancel, Kind::Close, Kind::CloseSend, Kind::InvokeMetadata];
        let mut writer = Writer::default();
        let mut bytes: Vec<u8> =
            packets.iter().flat_map(|(kind, data)| writer.packet(kinds[usize::from(*kind) - 1], data)).collect();
        if let Some((at, value)) = flip.filter(|_| !bytes.is_empty()) {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).chain([0, bytes.len()]).collect();
        cuts.sort_unstable();
        let mut reader = Reader::new(LIMIT);
        let mut split = Ok(Vec::new());
        for pair in cuts.windows(2) {
            let Ok(all) = split.as_mut() else { break };
            match read(&mut reader, &bytes[pair[0]..pair[1]]) {
                Ok(more) => all.extend(more),
                Err(malformed) => split = Err(malformed),
            }
        }
        prop_assert_eq!(&split, &once(&bytes));
        if flip.is_none() {
            let sent: Vec<_> =
                packets.into_iter().map(|(kind, data)| Packet { kind: kinds[usize::from(kind) - 1], data }).collect();
            prop_assert_eq!(split, Ok(sent));
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = once(&bytes);
    }
}
