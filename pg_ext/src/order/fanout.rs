//! Fan-out: each event goes to the coordinators that must hear of it, and to no other.

use std::{
    cell::Cell,
    collections::{BTreeMap, HashMap, hash_map::Entry},
    rc::Rc,
};

use tailnet_wire::{Event, Role, payload};
use uuid::Uuid;

use crate::{
    error::Error,
    pg::{notify::Channel, statement::rows, transaction::commit_without_flush, uuids::uuid_array},
};

/// For each of these peers, the coordinators that hold a connected peer with a tunnel to or from it; NULL for partners that
/// are not connected. Agents open no tunnels, so only other peers are looked up as the source of one. The subquery reads
/// the table of peers by its key, whatever the planner believes of the table's size. A join might not.
const INTERESTED: &str = "
    SELECT DISTINCT q.ord, (SELECT p.coordinator_id FROM tailnet_private.peers p WHERE p.id = t.other)
    FROM unnest($1, $2) WITH ORDINALITY q(id, opens, ord)
    CROSS JOIN LATERAL (
        SELECT o.dst AS other FROM tailnet_private.tunnels o WHERE q.opens AND o.src = q.id
        UNION ALL
        SELECT i.src FROM tailnet_private.tunnels i WHERE i.dst = q.id
    ) t";

const REGISTRATIONS: &str = "
    SELECT c.id, c.registration
    FROM unnest($1) q(id)
    JOIN tailnet_private.coordinators c ON c.id = q.id";

thread_local! {
    /// The number of the next message, see [`tailnet_wire::payload`].
    static MESSAGE: Cell<u32> = const { Cell::new(0) };
}

/// The events of one transaction for each coordinator, in the order in which they were added.
#[derive(Default)]
pub struct Fanout {
    /// As JSON. An event is written once, however many coordinators hear it.
    events: BTreeMap<Uuid, Vec<Rc<str>>>,
}

impl Fanout {
    /// Adds an event for one coordinator.
    pub fn tell(&mut self, coordinator: Uuid, event: &Event) {
        self.add(coordinator, event.to_json().into());
    }

    /// Adds one event about each peer, for the coordinators of its tunnel partners.
    pub fn tell_partners(&mut self, peers: &[(Uuid, Role)], event: impl Fn(Uuid) -> Event) -> Result<(), Error> {
        if peers.is_empty() {
            return Ok(());
        }
        let ids = uuid_array(peers.iter().map(|(id, _)| *id));
        let opens: Vec<bool> = peers.iter().map(|(_, role)| *role != Role::Agent).collect();
        let interested = rows(INTERESTED, &[ids.into(), opens.into()], |row| Ok((row.place(1)?, row.maybe_id(2)?)))?;
        let mut texts: HashMap<usize, Rc<str>> = HashMap::new();
        for (place, coordinator) in interested {
            let Some(coordinator) = coordinator else { continue };
            let text = match texts.entry(place) {
                Entry::Occupied(written) => Rc::clone(written.get()),
                Entry::Vacant(new) => Rc::clone(new.insert(event(peers[place].0).to_json().into())),
            };
            self.add(coordinator, text);
        }
        Ok(())
    }

    fn add(&mut self, coordinator: Uuid, text: Rc<str>) {
        self.events.entry(coordinator).or_default().push(text);
    }

    /// Queues all events; Postgres delivers them at commit, which does not wait for the disk. Coordinators that no longer exist
    /// are left out.
    pub fn send(self) -> Result<(), Error> {
        if self.events.is_empty() {
            return Ok(());
        }
        // Statements that only read logged tables may write WAL too, when they tidy up a page.
        commit_without_flush();
        let coordinators = uuid_array(self.events.keys().copied());
        for (coordinator, registration) in
            rows(REGISTRATIONS, &[coordinators.into()], |row| Ok((row.id(1)?, row.id(2)?)))?
        {
            let channel = Channel::of(registration);
            let message = MESSAGE.replace(MESSAGE.get().wrapping_add(1));
            for payload in payload::pack(message, &self.events[&coordinator]) {
                channel.notify(&payload);
            }
        }
        Ok(())
    }
}
