//! The call that asks and is told what a session asks and is told.

use std::collections::VecDeque;

use tailnet_v2::{
    calls::{Calls, Message},
    yamux::StreamId,
};
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

/// How far the call is. A connection has one, and it is not begun again: then the peer has left.
#[derive(Debug, Default)]
pub struct Coordination {
    /// None: it has not begun, or it is over.
    call: Option<StreamId>,
    over: bool,
    /// The peer sends no more requests.
    finished: bool,
    /// What the peer sent and the session has not heard.
    requests: VecDeque<Message>,
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
    pub fn request(&mut self, message: Message) {
        self.requests.push_back(message);
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
        let Some(message) = self.requests.pop_front() else {
            return self.finished.then_some(Err(HearError::Gone));
        };
        if self.requests.is_empty() {
            self.requests = VecDeque::new();
        }
        if let Some(call) = self.call {
            calls.release(call, &message);
        }
        let request = from_peer::parse(&message.data, only);
        match request.refused {
            Some(refused) if request.asks.is_empty() => Some(Err(HearError::Malformed(refused))),
            refused => {
                self.refused = refused;
                Some(Ok(request.asks))
            }
        }
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
        (self.over, self.finished) = (true, false);
        let Some(call) = self.call.take() else { return };
        for message in self.requests.drain(..) {
            calls.release(call, &message);
        }
        if let Some(error) = error {
            calls.send(call, &to_peer::error(error));
        }
        calls.close(call);
    }
}
