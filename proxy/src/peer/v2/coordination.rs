//! The call that asks and is told what a session asks and is told.

use tailnet_v2::{calls::Calls, yamux::StreamId};
use uuid::Uuid;

use crate::{
    message::{Ask, Malformed},
    peer::{
        codec::HearError,
        v2::{from_peer, to_peer},
    },
};

/// The error of calls that come after the peer has left.
pub const LEFT: &str = "the peer has left, connect again";

/// Messages, packed: a small one would take several times its bytes alone.
#[derive(Debug, Default)]
struct Requests {
    /// Each with its length in four bytes before it.
    bytes: Vec<u8>,
    /// What of them was taken out.
    taken: usize,
}

impl Requests {
    fn push(&mut self, message: &[u8]) {
        let length = u32::try_from(message.len()).expect("a message has a bounded length");
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(message);
    }

    fn pop(&mut self) -> Option<Vec<u8>> {
        let (length, rest) = self.bytes[self.taken..].split_first_chunk()?;
        let message = rest[..u32::from_ne_bytes(*length) as usize].to_vec();
        self.taken += size_of::<u32>() + message.len();
        if self.taken == self.bytes.len() {
            // Nothing is kept for a peer that is idle.
            *self = Self::default();
        } else if self.taken > self.bytes.len() / 2 {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        Some(message)
    }
}

/// How far the call is. A connection has one, and it is not begun again: then the peer has left.
#[derive(Debug, Default)]
pub struct Coordination {
    /// None: it has not begun, or it is over.
    call: Option<StreamId>,
    over: bool,
    /// The peer sends no more requests.
    finished: bool,
    /// What the peer sent and the session has not heard.
    requests: Requests,
    /// What the peer asked in the last request and cannot be done. The session hears it after the good parts.
    refused: Option<Malformed>,
}

impl Coordination {
    /// The peer begins the call.
    pub fn begin(&mut self, calls: &mut Calls, call: StreamId) {
        if self.over {
            calls.fail(call, 0, LEFT);
        } else if self.call.is_some() {
            calls.fail(call, 0, "Coordinate is called already on this connection");
        } else {
            self.call = Some(call);
        }
    }

    /// Whether this is the call.
    pub fn is(&self, call: StreamId) -> bool {
        self.call == Some(call)
    }

    /// Whether the peer has left.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// A request waits until the session wants to hear it.
    pub fn request(&mut self, message: &[u8]) {
        self.requests.push(message);
    }

    /// The peer sends no more. It is gone once the session has heard what waits.
    pub fn finish(&mut self) {
        self.finished = true;
    }

    /// The next of what the peer asks; None: nothing waits.
    pub fn next(&mut self, calls: &mut Calls, only: Option<Uuid>) -> Option<Result<Vec<Ask>, HearError>> {
        if let Some(refused) = self.refused.take() {
            return Some(Err(HearError::Malformed(refused)));
        }
        let Some(message) = self.requests.pop() else {
            return self.finished.then_some(Err(HearError::Gone));
        };
        if let Some(call) = self.call {
            calls.release(call, message.len());
        }
        let request = from_peer::parse(&message, only);
        match request.refused {
            Some(refused) if request.asks.is_empty() => Some(Err(HearError::Malformed(refused))),
            refused => {
                self.refused = refused;
                Some(Ok(request.asks))
            }
        }
    }

    /// Whether the session has not heard all that the peer asks.
    pub fn has_requests(&self) -> bool {
        self.refused.is_some() || !self.requests.bytes.is_empty()
    }

    /// Whether updates can be sent: the call has begun, and the peer reads.
    pub fn takes_updates(&self, calls: &Calls) -> bool {
        self.call.is_some_and(|call| !calls.waits(call))
    }

    /// Sends a response.
    pub fn send(&self, calls: &mut Calls, response: &[u8]) {
        if let Some(call) = self.call {
            calls.send(call, response);
        }
    }

    /// Ends the call, with an error if there is one. What waits is thrown away.
    pub fn end(&mut self, calls: &mut Calls, error: Option<&str>) {
        (self.over, self.finished, self.refused) = (true, false, None);
        let Some(call) = self.call.take() else { return };
        while let Some(message) = self.requests.pop() {
            calls.release(call, message.len());
        }
        if let Some(error) = error {
            calls.send(call, &to_peer::error(error));
        }
        calls.close(call);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_come_out_as_they_went_in_and_leave_nothing_behind() {
        let mut requests = Requests::default();
        let message = |number: usize| vec![number as u8; number % 7];
        let (mut pushed, mut popped) = (0, 0);
        for round in 0..200 {
            for _ in 0..round % 5 {
                requests.push(&message(pushed));
                pushed += 1;
            }
            for _ in 0..round % 3 {
                if popped < pushed {
                    assert_eq!(requests.pop(), Some(message(popped)));
                    popped += 1;
                }
            }
            assert!(requests.taken <= requests.bytes.len() / 2);
        }
        while popped < pushed {
            assert_eq!(requests.pop(), Some(message(popped)));
            popped += 1;
        }
        assert_eq!((requests.pop(), requests.bytes.capacity()), (None, 0));
    }
}
