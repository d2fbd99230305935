//! Who is told that tunnels were opened or closed: the coordinators that hold one of the two ends.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tailnet_wire::{Binding, Event, TunnelEnd};
use uuid::Uuid;

use crate::{
    error::Error,
    order::fanout::Fanout,
    peers::binding,
    pg::{statement::rows, uuids::uuid_array},
};

const ENDS: &str = "
    SELECT p.id, p.coordinator_id, p.status, p.digest, p.node
    FROM unnest($1) q(id)
    JOIN tailnet_private.peers p ON p.id = q.id";

/// What is stored of a peer at one end of a tunnel.
struct StoredPeer {
    coordinator: Option<Uuid>,
    binding: Option<Binding>,
}

/// Tells the coordinators of both ends of tunnels that were opened. A coordinator gets one event for all tunnels of a
/// source. It gets the binding of the source if it holds a destination, and those of the destinations if it holds the
/// source.
pub fn tell_opened(fanout: &mut Fanout, opened: &[(Uuid, Uuid)]) -> Result<(), Error> {
    let ends = ends(opened)?;
    for (src, dsts) in by_src(opened) {
        let source = ends.get(&src);
        let holder = source.and_then(|end| end.coordinator);
        for (coordinator, held) in by_coordinator(&ends, &dsts, holder) {
            let with_binding =
                |dst: &Uuid| TunnelEnd { id: *dst, binding: ends.get(dst).and_then(|end| end.binding.clone()) };
            let dsts = if holder == Some(coordinator) {
                dsts.iter().map(with_binding).collect()
            } else {
                held.iter().map(|dst| TunnelEnd { id: *dst, binding: None }).collect()
            };
            let src_binding = if held.is_empty() { None } else { source.and_then(|end| end.binding.clone()) };
            fanout.tell(coordinator, &Event::Opened { src, src_binding, dsts });
        }
    }
    Ok(())
}

/// Tells the coordinators of both ends of tunnels that were closed.
pub fn tell_closed(fanout: &mut Fanout, closed: &[(Uuid, Uuid)]) -> Result<(), Error> {
    let ends = ends(closed)?;
    for (src, dsts) in by_src(closed) {
        let holder = ends.get(&src).and_then(|end| end.coordinator);
        for (coordinator, held) in by_coordinator(&ends, &dsts, holder) {
            let dsts = if holder == Some(coordinator) { dsts.clone() } else { held };
            fanout.tell(coordinator, &Event::Closed { src, dsts });
        }
    }
    Ok(())
}

/// Both ends of tunnels, as far as they are stored.
fn ends(tunnels: &[(Uuid, Uuid)]) -> Result<HashMap<Uuid, StoredPeer>, Error> {
    let ids: BTreeSet<Uuid> = tunnels.iter().flat_map(|(src, dst)| [*src, *dst]).collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let found = rows(ENDS, &[uuid_array(ids).into()], |row| {
        Ok((row.id(1)?, StoredPeer { coordinator: row.maybe_id(2)?, binding: binding::from_row(row, 3)? }))
    })?;
    Ok(found.into_iter().collect())
}

fn by_src(tunnels: &[(Uuid, Uuid)]) -> BTreeMap<Uuid, Vec<Uuid>> {
    let mut grouped: BTreeMap<Uuid, Vec<Uuid>> = BTreeMap::new();
    for (src, dst) in tunnels {
        grouped.entry(*src).or_default().push(*dst);
    }
    grouped
}

/// The coordinators that hold the source (`holder`) or a destination, each with the destinations that it holds.
fn by_coordinator(ends: &HashMap<Uuid, StoredPeer>, dsts: &[Uuid], holder: Option<Uuid>) -> BTreeMap<Uuid, Vec<Uuid>> {
    let mut held: BTreeMap<Uuid, Vec<Uuid>> = holder.into_iter().map(|id| (id, Vec::new())).collect();
    for dst in dsts {
        if let Some(coordinator) = ends.get(dst).and_then(|end| end.coordinator) {
            held.entry(coordinator).or_default().push(*dst);
        }
    }
    held
}
