//! The DERP map of the network, for a peer that asked for it: at once, and again on each change.

use std::{future::poll_fn, sync::Arc};

use futures_util::SinkExt as _;
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

use crate::{
    peer::{socket::Socket, v1::to_peer},
    state::{derp_maps::Maps, switchboard::Switchboard},
};

/// What one peer is told of its DERP map.
#[derive(Debug)]
pub struct MapFrames {
    switchboard: Arc<Switchboard>,
    network: Uuid,
    /// None: the peer has not asked.
    asked: Option<Box<Asked>>,
}

#[derive(Debug)]
struct Asked {
    maps: Maps,
    /// The version that it was told.
    told: Option<i64>,
    /// A frame was handed to the websocket, and is perhaps not written out.
    unwritten: bool,
}

impl MapFrames {
    /// A peer of this network, which has not asked.
    pub fn new(switchboard: Arc<Switchboard>, network: Uuid) -> Self {
        Self { switchboard, network, asked: None }
    }

    /// The peer asks.
    pub fn ask(&mut self) {
        let maps = self.switchboard.derp_map(self.network);
        self.asked = Some(Box::new(Asked { maps, told: None, unwritten: false }));
    }

    /// Writes the newest map, unless the peer was told it. May be dropped at any time: nothing is written twice, and what is
    /// left is written next time. False: the connection is broken.
    pub async fn tell(&mut self, socket: &mut Socket) -> bool {
        let Some(asked) = &mut self.asked else { return true };
        let news = asked.maps.borrow_and_update().clone().filter(|found| asked.told != Some(found.version));
        if let Some(found) = news {
            if poll_fn(|cx| socket.poll_ready_unpin(cx)).await.is_err() {
                return false;
            }
            let map = found.map.as_ref().map(|map| &*map.json);
            if socket.start_send_unpin(Message::text(to_peer::derp_map(map))).is_err() {
                return false;
            }
            (asked.told, asked.unwritten) = (Some(found.version), true);
        }
        if asked.unwritten {
            if socket.flush().await.is_err() {
                return false;
            }
            asked.unwritten = false;
        }
        true
    }

    /// Returns when the map may have changed and the peer asked for it.
    pub async fn changed(&mut self) {
        let changed = match &mut self.asked {
            Some(asked) => asked.maps.changed().await.is_ok(),
            None => false,
        };
        if !changed {
            std::future::pending().await
        }
    }
}
