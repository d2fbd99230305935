//! What both directions know of frames.

/// What a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Begins the call. The data is the path of the method.
    Invoke,
    /// One message.
    Message,
    /// Ends the call with an error: a code in eight bytes, big-endian, and a text.
    Error,
    /// The caller no longer wants the answer.
    Cancel,
    /// The sender sends and takes nothing more.
    Close,
    /// The sender sends no more messages.
    CloseSend,
    /// Goes before an invoke. Nobody here reads it.
    InvokeMetadata,
}

/// A whole packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// What it is.
    pub kind: Kind,
    /// Its data, of all its frames.
    pub data: Vec<u8>,
}

/// The number of each call.
pub const CALL: u64 = 1;

/// The last frame of its packet.
pub const DONE: u8 = 1;

/// A reader that does not know the kind may ignore the frame.
pub const CONTROL: u8 = 0x80;

impl Kind {
    /// How it is written.
    pub fn number(self) -> u8 {
        match self {
            Self::Invoke => 1,
            Self::Message => 2,
            Self::Error => 3,
            Self::Cancel => 4,
            Self::Close => 5,
            Self::CloseSend => 6,
            Self::InvokeMetadata => 7,
        }
    }

    /// What this number means.
    pub fn of(number: u8) -> Option<Self> {
        let all = [
            Self::Invoke,
            Self::Message,
            Self::Error,
            Self::Cancel,
            Self::Close,
            Self::CloseSend,
            Self::InvokeMetadata,
        ];
        all.into_iter().find(|kind| kind.number() == number)
    }
}
