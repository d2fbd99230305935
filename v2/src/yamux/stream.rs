//! One stream of a session.

use crate::yamux::header::StreamId;

/// How many bytes may be under way on a stream in each direction, from its beginning on.
pub const WINDOW: u32 = 256 * 1024;

/// An open stream. It is forgotten when both sides have finished, or one has reset it.
#[derive(Debug)]
pub struct Stream {
    pub id: StreamId,
    /// What the other side may still send.
    pub receives: u32,
    /// What was released and is not granted again yet.
    pub released: u32,
    /// What may still be sent.
    pub sends: u32,
    /// What waits for a window.
    pub waiting: Vec<u8>,
    /// This side finishes when nothing waits any more.
    pub finishing: bool,
    /// This side has finished.
    pub finished: bool,
    /// The other side has finished.
    pub peer_finished: bool,
}

impl Stream {
    pub fn new(id: StreamId) -> Self {
        Self {
            id,
            receives: WINDOW,
            released: 0,
            sends: WINDOW,
            waiting: Vec::new(),
            finishing: false,
            finished: false,
            peer_finished: false,
        }
    }

    /// Takes back what the caller has released, when it is worth a frame: half a window, as the Go library does.
    pub fn grant(&mut self) -> Option<u32> {
        if self.released < WINDOW / 2 || self.peer_finished {
            return None;
        }
        let grant = std::mem::take(&mut self.released);
        self.receives += grant;
        Some(grant)
    }
}
