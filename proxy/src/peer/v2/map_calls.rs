//! The calls that wait for the DERP map of the network, and for its changes.

use prost::Message as _;
use tailnet_v2::{calls::Calls, messages::tailnet, yamux::StreamId};

use crate::state::derp_maps::{Found, Maps};

/// Those of one connection.
#[derive(Debug)]
pub struct MapCalls {
    maps: Maps,
    /// Each with the version that it was told.
    calls: Vec<(StreamId, Option<i64>)>,
}

impl MapCalls {
    /// No calls yet.
    pub fn new(maps: Maps) -> Self {
        Self { maps, calls: Vec::new() }
    }

    /// A call begins.
    pub fn begin(&mut self, call: StreamId) {
        self.calls.push((call, None));
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
        if self.calls.is_empty() {
            return;
        }
        let Some(Found { version, map: Some(map) }) = self.maps.borrow_and_update().clone() else { return };
        let mut message = None;
        for (call, told) in &mut self.calls {
            if *told != Some(version) && !calls.waits(*call) {
                let message = message.get_or_insert_with(|| tailnet::DerpMap::from(&map.fields).encode_to_vec());
                calls.send(*call, message);
                *told = Some(version);
            }
        }
    }

    /// Returns when the map may have changed and somebody waits for it.
    pub async fn changed(&mut self) {
        let changed = async { self.calls.is_empty() || self.maps.changed().await.is_err() };
        if changed.await {
            std::future::pending().await
        }
    }
}
