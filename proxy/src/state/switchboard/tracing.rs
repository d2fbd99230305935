//! A trace is held until its connection has ended and the last request of its session is done.

use tailnet_wire::SessionId;

use super::Switchboard;
use crate::observe::{trace::Closing, traces::Carried};

impl Switchboard {
    /// The connection of a session ended.
    pub fn end_trace(&self, id: SessionId, closing: Closing) {
        self.traces.end(id, closing);
        self.release_trace(id);
    }

    /// A batch was given back, and these spans with it.
    pub fn release_traces(&self, carried: Carried) {
        carried.sessions().for_each(|id| self.release_trace(id));
    }

    /// Called when the connection ends and when a batch ends. The later of the two finds both done.
    fn release_trace(&self, id: SessionId) {
        if self.traces.has_ended(id) && !self.binder.is_busy(&id) {
            self.traces.release(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::http::{HeaderMap, HeaderValue};
    use futures_util::FutureExt as _;
    use tailnet_traces::parent;
    use tailnet_wire::Role;
    use uuid::Uuid;

    use super::*;
    use crate::batch::{
        batcher::Batching,
        request::{BinderRequest, Step},
    };

    const BATCHING: Batching =
        Batching { limit: 9, linger: Duration::ZERO, least: Duration::ZERO, most: Duration::ZERO };

    fn held(switchboard: &Switchboard) -> SessionId {
        let id = SessionId { peer: Uuid::from_u128(1), number: 1 };
        let mut headers = HeaderMap::new();
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        headers.insert(parent::TRACEPARENT, HeaderValue::from_static(parent));
        let trace = switchboard.traces.begin(&headers, "/v1/coordinate", "/v1/coordinate");
        assert!(trace.is_some());
        switchboard.traces.hold(id, Role::Agent, trace);
        id
    }

    fn take(switchboard: &Switchboard) -> (Vec<(SessionId, BinderRequest)>, Carried) {
        let batch = switchboard.binder.take(BATCHING).now_or_never().expect("a request waits");
        let requests = batch.iter().map(|(id, _)| (*id, "attach"));
        let carried = switchboard.traces.carry("binder", batch.len(), requests);
        assert_eq!(carried.len(), 1, "it is carried");
        (batch, carried)
    }

    fn is_held(switchboard: &Switchboard, id: SessionId) -> bool {
        switchboard.traces.of(id).is_some()
    }

    #[test]
    fn a_trace_is_held_until_the_last_request_is_done() {
        let switchboard = Switchboard::default();
        let id = held(&switchboard);
        switchboard.binder.push(id, BinderRequest::new(Step::Lose));
        switchboard.end_trace(id, Closing::Gone);
        // The first attempt fails, and the request waits again.
        for (failed, still_held) in [(true, true), (false, false)] {
            let (batch, carried) = take(&switchboard);
            switchboard.binder.finish([id], if failed { batch } else { Vec::new() });
            switchboard.release_traces(carried);
            assert_eq!(is_held(&switchboard, id), still_held);
        }
    }

    #[test]
    fn a_trace_is_released_when_the_connection_ends_after_its_last_request() {
        let switchboard = Switchboard::default();
        let id = held(&switchboard);
        switchboard.binder.push(id, BinderRequest::new(Step::Attach));
        let (_, carried) = take(&switchboard);
        switchboard.binder.finish([id], Vec::new());
        switchboard.release_traces(carried);
        assert!(is_held(&switchboard, id));
        switchboard.end_trace(id, Closing::Closed { code: 4001, wanted: true });
        assert!(!is_held(&switchboard, id));
    }
}
