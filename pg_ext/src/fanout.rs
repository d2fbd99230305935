//! Events, each to the coordinators that must hear of it, and to no other.

use std::{cell::Cell, collections::BTreeMap};

use tailnet_wire::{Event, payload};
use uuid::Uuid;

use crate::{array::uuid_array, error::Error, notify::Channel, statement::rows};

/// The coordinators that hold a connected peer with a tunnel to or from each of these peers; NULL: some are not
/// connected. A subquery is looked up by key whatever the planner believes of the table; a join may be not.
const INTERESTED: &str = "
    SELECT DISTINCT q.ord, (SELECT p.coordinator_id FROM tailnet_private.peers p WHERE p.id = t.other)
    FROM unnest($1) WITH ORDINALITY q(id, ord)
    CROSS JOIN LATERAL (
        SELECT o.dst AS other FROM tailnet_private.tunnels o WHERE o.src = q.id
        UNION ALL
        SELECT i.src FROM tailnet_private.tunnels i WHERE i.dst = q.id
    ) t";

const REGISTRATIONS: &str = "
    SELECT c.id, c.registration
    FROM unnest($1) q(id)
    JOIN tailnet_private.coordinators c ON c.id = q.id";

thread_local! {
    /// Tells the messages of a transaction apart, see [`tailnet_wire::payload`].
    static MESSAGE: Cell<u32> = const { Cell::new(0) };
}

/// The events of one transaction, by coordinator. Sent with [`Fanout::send`], in the order in which they were added.
#[derive(Default)]
pub struct Fanout {
    events: BTreeMap<Uuid, Vec<Event>>,
}

impl Fanout {
    /// Adds an event for one coordinator.
    pub fn tell(&mut self, coordinator: Uuid, event: Event) {
        self.events.entry(coordinator).or_default().push(event);
    }

    /// Adds an event about each peer, for the coordinators of its tunnel partners.
    pub fn tell_partners(&mut self, peers: &[Uuid], event: impl Fn(usize) -> Event) -> Result<(), Error> {
        if peers.is_empty() {
            return Ok(());
        }
        let args = [uuid_array(peers.iter().copied()).into()];
        for (place, coordinator) in rows(INTERESTED, &args, |row| Ok((row.place(1)?, row.maybe_id(2)?)))? {
            if let Some(coordinator) = coordinator {
                self.tell(coordinator, event(place));
            }
        }
        Ok(())
    }

    /// Queues everything for delivery at commit. Coordinators that are gone are left out.
    pub fn send(self) -> Result<(), Error> {
        if self.events.is_empty() {
            return Ok(());
        }
        let coordinators = uuid_array(self.events.keys().copied());
        for (coordinator, registration) in
            rows(REGISTRATIONS, &[coordinators.into()], |row| Ok((row.id(1)?, row.id(2)?)))?
        {
            let channel = Channel::of(registration);
            let message = MESSAGE.replace(MESSAGE.get().wrapping_add(1));
            for payload in payload::pack(message, &self.events[&coordinator])? {
                channel.notify(&payload);
            }
        }
        Ok(())
    }
}
