//! The websocket of RFC 6455 as a client speaks it, over buffers: the load shares its cores with what it measures.

use std::io::Cursor;

use tailnet_tools::websocket::Protocol;
use tokio_tungstenite::tungstenite::protocol::frame::{
    FrameHeader,
    coding::{Control, Data, OpCode},
};

/// Any key will do: it only has to be answered.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// The answer to it.
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The request that opens a websocket.
pub fn upgrade(host: &str, token: &str, protocol: Protocol) -> String {
    let (path, subprotocol) = match protocol {
        Protocol::V1 => ("/v1/coordinate", "Sec-WebSocket-Protocol: tailnet.v1.json\r\n"),
        Protocol::V2 => ("/api/v2/tailnet?version=2.0", ""),
    };
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{subprotocol}Authorization: Bearer {token}\r\n\r\n"
    )
}

/// What a proxy said to that request.
#[derive(Debug, PartialEq, Eq)]
pub enum Upgraded {
    /// There is more to come.
    Partly,
    /// The websocket is open; its frames begin at this byte.
    Open(usize),
    /// 503: to be tried again later.
    PutOff,
    /// Anything else, in its words.
    Refused(String),
}

/// Reads the answer.
pub fn upgraded(bytes: &[u8], protocol: Protocol) -> Upgraded {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Upgraded::Partly };
    let head = String::from_utf8_lossy(&bytes[..end]);
    let has = |name: &str, value: &str| {
        let mut headers = head.lines().skip(1).filter_map(|line| line.split_once(':'));
        headers.any(|(key, found)| key.eq_ignore_ascii_case(name) && found.trim() == value)
    };
    if head.starts_with("HTTP/1.1 503 ") {
        Upgraded::PutOff
    } else if head.starts_with("HTTP/1.1 101 ")
        && has("sec-websocket-accept", ACCEPT)
        && (protocol == Protocol::V2 || has("sec-websocket-protocol", "tailnet.v1.json"))
    {
        Upgraded::Open(end + 4)
    } else {
        Upgraded::Refused(head.into_owned())
    }
}

/// A frame from the proxy.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    Text(&'a [u8]),
    Binary(&'a [u8]),
    Ping(&'a [u8]),
    /// The code, and the reason.
    Close(Option<u16>, &'a [u8]),
}

/// The first frame of these bytes, and its length; None: there is more to come.
/// Fails when it is none that this proxy sends: it fragments nothing, and masks nothing.
pub fn frame(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, String> {
    let mut cursor = Cursor::new(bytes);
    let Some((header, length)) = FrameHeader::parse(&mut cursor).map_err(|error| error.to_string())? else {
        return Ok(None);
    };
    let begin = usize::try_from(cursor.position()).expect("a header is short");
    let Some(end) = usize::try_from(length).ok().and_then(|length| begin.checked_add(length)) else {
        return Err(format!("a frame of {length} bytes"));
    };
    let Some(payload) = bytes.get(begin..end) else { return Ok(None) };
    let is_plain = header.is_final && !(header.rsv1 || header.rsv2 || header.rsv3) && header.mask.is_none();
    let frame = match header.opcode {
        _ if !is_plain => return Err(format!("a frame with {header:?}")),
        OpCode::Data(Data::Text) => Frame::Text(payload),
        OpCode::Data(Data::Binary) => Frame::Binary(payload),
        OpCode::Control(Control::Ping) => Frame::Ping(payload),
        OpCode::Control(Control::Close) => match payload.split_first_chunk() {
            Some((code, reason)) => Frame::Close(Some(u16::from_be_bytes(*code)), reason),
            None => Frame::Close(None, &[]),
        },
        _ => return Err(format!("a frame with {header:?}")),
    };
    Ok(Some((frame, end)))
}

/// Appends a text frame.
pub fn write_text(to: &mut Vec<u8>, text: &str) {
    write(to, OpCode::Data(Data::Text), text.as_bytes());
}

/// Appends a binary frame.
pub fn write_binary(to: &mut Vec<u8>, bytes: &[u8]) {
    write(to, OpCode::Data(Data::Binary), bytes);
}

/// Appends the answer to a ping.
pub fn write_pong(to: &mut Vec<u8>, payload: &[u8]) {
    write(to, OpCode::Control(Control::Pong), payload);
}

fn write(to: &mut Vec<u8>, opcode: OpCode, payload: &[u8]) {
    // Unpredictable masks protect intermediaries from browsers: there are none here.
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let header = FrameHeader { is_final: true, opcode, mask: Some(mask), ..FrameHeader::default() };
    header.format(payload.len() as u64, to).expect("a Vec takes everything");
    to.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

#[cfg(test)]
mod tests {
    use tokio_tungstenite::tungstenite::{
        Message, WebSocket,
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role, frame::coding::CloseCode},
    };

    use super::*;
    use Protocol::V1;

    #[test]
    fn a_websocket_opens_with_the_right_answer_only() {
        assert_eq!(derive_accept_key(KEY.as_bytes()), ACCEPT);
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nSec-Websocket-Accept: {ACCEPT}\r\n\
             sec-websocket-protocol: tailnet.v1.json\r\n\r\n"
        );
        assert_eq!(upgraded(format!("{answer}\u{1}").as_bytes(), V1), Upgraded::Open(answer.len()));
        assert_eq!(upgraded(&answer.as_bytes()[..answer.len() - 1], V1), Upgraded::Partly);
        assert_eq!(upgraded(b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 2\r\n\r\n", V1), Upgraded::PutOff);
        for wrong in ["HTTP/1.1 401 Unauthorized\r\n\r\n", &answer.replace("v1", "v2"), &answer.replace("s3p", "S3p")] {
            assert!(matches!(upgraded(wrong.as_bytes(), V1), Upgraded::Refused(_)), "{wrong}");
        }
    }

    #[test]
    fn a_server_understands_what_is_written() {
        let mut bytes = Vec::new();
        write_text(&mut bytes, &"x".repeat(300));
        write_pong(&mut bytes, b"ping");
        let mut server = WebSocket::from_raw_socket(Cursor::new(bytes), Role::Server, None);
        assert_eq!(server.read().expect("a frame"), Message::text("x".repeat(300)));
        assert_eq!(server.read().expect("a frame"), Message::Pong(b"ping".to_vec().into()));
    }

    #[test]
    fn what_a_server_writes_is_understood_however_it_is_cut() {
        let mut server = WebSocket::from_raw_socket(Cursor::new(Vec::new()), Role::Server, None);
        for message in [Message::text("y".repeat(70_000)), Message::Ping(b"p".to_vec().into())] {
            server.send(message).expect("written");
        }
        server.close(Some(CloseFrame { code: CloseCode::Restart, reason: "later".into() })).expect("written");
        server.flush().expect("written");
        let bytes = server.get_ref().get_ref().clone();
        let (text, length) = frame(&bytes).expect("a frame").expect("whole");
        assert_eq!(text, Frame::Text("y".repeat(70_000).as_bytes()));
        for cut in [0, 1, 5, 9, length - 1] {
            assert_eq!(frame(&bytes[..cut]), Ok(None));
        }
        let (ping, next) = frame(&bytes[length..]).expect("a frame").expect("whole");
        assert_eq!(ping, Frame::Ping(b"p"));
        let close = frame(&bytes[length + next..]).expect("a frame").expect("whole").0;
        assert_eq!(close, Frame::Close(Some(1012), b"later"));
    }

    #[test]
    fn frames_that_this_proxy_does_not_send_are_errors() {
        for bytes in [[0x01, 0x01, b'a'].as_slice(), &[0x81, 0x80, 1, 2, 3, 4], &[0xc1, 0x00]] {
            frame(bytes).expect_err("no such frame");
        }
    }
}
