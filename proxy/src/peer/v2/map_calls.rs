//! The calls that wait for the DERP map of the network, and for its changes.

use std::task::{Context, Poll};

use prost::Message as _;
use tailnet_v2::{calls::Calls, messages::tailnet, yamux::StreamId};
use tokio_util::sync::ReusableBoxFuture;

use crate::state::derp_maps::{Found, Maps};

/// Those of one connection.
#[derive(Debug)]
pub struct MapCalls {
    maps: Maps,
    /// Each with the version that it was told.
    calls: Vec<(StreamId, Option<i64>)>,
    /// One of them may have to be told something.
    untold: bool,
    /// Ready when the map has changed. It is kept from call to call, because it is costly to begin; None: nobody has waited yet.
    change: Option<ReusableBoxFuture<'static, Maps>>,
}

/// Returns when the map has changed.
async fn change(mut maps: Maps) -> Maps {
    if maps.changed().await.is_err() {
        // There is no sender any more.
        std::future::pending::<()>().await;
    }
    maps
}

impl MapCalls {
    /// No calls yet.
    pub fn new(maps: Maps) -> Self {
        Self { maps, calls: Vec::new(), untold: false, change: None }
    }

    /// A call begins.
    pub fn begin(&mut self, call: StreamId) {
        self.calls.push((call, None));
        self.untold = true;
    }

    /// A call ended.
    pub fn end(&mut self, call: StreamId) {
        self.calls.retain(|(waiting, _)| *waiting != call);
    }

    /// The map of now; None: there is none.
    pub fn map(&self) -> Option<tailnet::DerpMap> {
        let found = self.maps.borrow();
        found.as_ref().and_then(|found| found.map.as_ref()).map(|map| (&map.fields).into())
    }

    /// Tells the map to the calls that have not been told it. One that does not read is told the newest when it reads again.
    pub fn tell(&mut self, calls: &mut Calls) {
        if self.calls.is_empty() || !(self.untold || self.maps.has_changed().unwrap_or(false)) {
            return;
        }
        self.untold = true;
        let Some(Found { version, map: Some(map) }) = self.maps.borrow_and_update().clone() else { return };
        let mut message = None;
        for (call, told) in &mut self.calls {
            if *told != Some(version) && !calls.waits(*call) {
                let message = message.get_or_insert_with(|| tailnet::DerpMap::from(&map.fields).encode_to_vec());
                calls.send(*call, message);
                *told = Some(version);
            }
        }
        self.untold = self.calls.iter().any(|(_, told)| *told != Some(version));
    }

    /// Ready when the map has changed and somebody waits for it.
    pub fn poll_changed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.calls.is_empty() {
            return Poll::Pending;
        }
        let waiting = self.change.get_or_insert_with(|| ReusableBoxFuture::new(change(self.maps.clone())));
        waiting.poll(cx).map(|maps| waiting.set(change(maps)))
    }
}
