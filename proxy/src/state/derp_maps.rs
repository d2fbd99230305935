//! The DERP maps of the networks whose peers are here.
//!
//! A map is asked for when the first peer of its network needs it. From then on the log tells each change. Maps have versions
//! that only rise, so an answer that was asked for before a change does not undo it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use serde_json::value::RawValue;
use tailnet_wire::DerpMap;
use tokio::sync::watch;
use uuid::Uuid;

/// A map, as peers are told it.
#[derive(Debug, Clone)]
pub struct Map {
    /// Rises with each change.
    pub version: i64,
    /// Its text.
    pub json: Box<RawValue>,
    /// What is in it.
    pub fields: DerpMap,
}

/// What Postgres says of a network.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// The version of the map; 0: the network never had one.
    pub version: i64,
    /// Its map.
    pub map: Option<Arc<Map>>,
}

/// What peers of one network wait for. None: Postgres has not said yet.
pub type Maps = watch::Receiver<Option<Found>>;

/// The maps that are known here.
#[derive(Debug, Default)]
pub struct DerpMaps {
    known: Mutex<HashMap<Uuid, watch::Sender<Option<Found>>>>,
}

impl DerpMaps {
    /// The map of a network, and its changes. Whether it is new here: then it is to be asked for.
    pub fn watch(&self, network: Uuid) -> (Maps, bool) {
        let mut all = self.lock();
        let new = !all.contains_key(&network);
        (all.entry(network).or_insert_with(|| watch::Sender::new(None)).subscribe(), new)
    }

    /// Takes what Postgres says of a network.
    pub fn put(&self, network: Uuid, found: Found) {
        if let Some(known) = self.lock().get(&network) {
            known.send_if_modified(|known| {
                let is_newer = known.as_ref().is_none_or(|known| found.version > known.version);
                if is_newer {
                    *known = Some(found);
                }
                is_newer
            });
        }
    }

    /// The networks whose maps are known, or asked for.
    pub fn networks(&self) -> Vec<Uuid> {
        self.lock().keys().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, watch::Sender<Option<Found>>>> {
        self.known.lock().expect("no code panics with this lock held")
    }
}

impl Map {
    /// Reads a map that Postgres holds; None: it is not one, which the extension does not let through.
    pub fn new(version: i64, text: String) -> Option<Self> {
        let fields = DerpMap::parse(&text).ok()?;
        let json = RawValue::from_string(text).ok()?;
        Some(Self { version, json, fields })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NETWORK: Uuid = Uuid::from_u128(1);

    fn found(version: i64) -> Found {
        let text = r#"{"Regions":{"1":{"RegionID":1,"Nodes":[{"Name":"a","RegionID":1,"HostName":"h"}]}}}"#;
        Found { version, map: Map::new(version, text.to_owned()).map(Arc::new) }
    }

    fn version(maps: &Maps) -> Option<i64> {
        maps.borrow().as_ref().map(|found| found.version)
    }

    #[test]
    fn b115_an_older_answer_does_not_undo_a_change() {
        let all = DerpMaps::default();
        let (mut maps, true) = all.watch(NETWORK) else { panic!("nobody has asked for it") };
        assert!(!all.watch(NETWORK).1, "it was asked for");
        assert_eq!(version(&maps), None);
        all.put(NETWORK, Found::default());
        assert_eq!(version(&maps), Some(0));
        all.put(NETWORK, found(5));
        all.put(NETWORK, found(4));
        assert_eq!(maps.borrow_and_update().as_ref().map(|found| found.version), Some(5));
        all.put(NETWORK, found(5));
        assert!(!maps.has_changed().expect("it is known"), "a repeat is no change");
        all.put(NETWORK, Found { version: 6, map: None });
        assert!(maps.borrow().as_ref().is_some_and(|found| found.map.is_none()));
    }
}
