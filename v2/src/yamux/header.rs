//! The head of a frame: 12 bytes, big-endian.

/// The number of a stream. Those of the client are odd.
pub type StreamId = u32;

/// The bytes of a header.
pub const HEADER: usize = 12;

/// The only version.
const VERSION: u8 = 0;

pub const SYN: u16 = 1;
pub const ACK: u16 = 2;
pub const FIN: u16 = 4;
pub const RST: u16 = 8;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Bytes of a stream. The length is theirs.
    Data,
    /// The other side may send more on a stream. The length says how much.
    WindowUpdate,
    /// A ping or its answer. The length is a number that the answer repeats.
    Ping,
    /// The other side opens no more streams. The length says why.
    GoAway,
}

/// A header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub kind: Kind,
    pub flags: u16,
    pub stream: StreamId,
    pub length: u32,
}

/// Why a session goes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoAway {
    /// It ends as it should.
    Normal,
    /// The other side broke a rule.
    Violation,
}

/// What the other side did that breaks the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Another version.
    #[error("yamux version {0}, expected 0")]
    Version(u8),
    /// A kind that does not exist.
    #[error("yamux frame of kind {0}, expected 0 to 3")]
    Kind(u8),
    /// A stream that is open is opened again.
    #[error("yamux stream {0} is opened twice")]
    OpenedTwice(StreamId),
    /// A stream with a number of this side.
    #[error("yamux stream {0} is opened by the side that may not use this number")]
    WrongSide(StreamId),
    /// More bytes than the window allows.
    #[error("yamux stream {stream} sent {length} bytes with a window of {window}")]
    Window {
        /// The stream.
        stream: StreamId,
        /// The length of the frame.
        length: u32,
        /// What it might still send.
        window: u32,
    },
    /// A window that grows beyond 32 bits.
    #[error("yamux stream {0} has a window that is too large")]
    WindowOverflow(StreamId),
    /// The other side does not take what is sent to it, and makes ever more answers necessary.
    #[error("more than {0} bytes of answers wait for a peer that does not read them")]
    Flood(usize),
}

impl Header {
    pub fn encode(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[1] = match self.kind {
            Kind::Data => 0,
            Kind::WindowUpdate => 1,
            Kind::Ping => 2,
            Kind::GoAway => 3,
        };
        bytes[2..4].copy_from_slice(&self.flags.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.stream.to_be_bytes());
        bytes[8..].copy_from_slice(&self.length.to_be_bytes());
        bytes
    }

    pub fn decode(bytes: [u8; HEADER]) -> Result<Self, Violation> {
        let [version, kind, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3] = bytes;
        if version != VERSION {
            return Err(Violation::Version(version));
        }
        let kind = match kind {
            0 => Kind::Data,
            1 => Kind::WindowUpdate,
            2 => Kind::Ping,
            3 => Kind::GoAway,
            other => return Err(Violation::Kind(other)),
        };
        let (flags, stream) = (u16::from_be_bytes([f0, f1]), u32::from_be_bytes([s0, s1, s2, s3]));
        Ok(Self { kind, flags, stream, length: u32::from_be_bytes([l0, l1, l2, l3]) })
    }

    pub fn has(self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

impl GoAway {
    /// How it is written.
    pub fn code(self) -> u32 {
        match self {
            Self::Normal => 0,
            Self::Violation => 1,
        }
    }
}
