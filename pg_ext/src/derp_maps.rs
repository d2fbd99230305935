//! DERP maps: an operator changes one, and the proxies are told. `sql/derp_maps.sql` has the rest.

use pgrx::prelude::*;
use tailnet_wire::{DerpMap, Event};
use uuid::Uuid;

use crate::{
    error::{Error, raise_error},
    order::fanout::Fanout,
    pg::statement::rows,
};

const COORDINATORS: &str = "SELECT c.id FROM tailnet_private.coordinators c";

/// `sql/derp_maps.sql` declares this function.
#[pg_extern(immutable, parallel_safe, sql = false)]
fn check_derp_map(map: &str) {
    raise_error(|| DerpMap::parse(map).map(drop).map_err(Error::DerpMap));
}

/// Tells all coordinators that a map has changed; None: that of all networks without one of their own. They ask for it: a map may
/// be large, and not each of them has a peer that needs it.
pub fn tell_change(fanout: &mut Fanout, network: Option<Uuid>) -> Result<(), Error> {
    for coordinator in rows(COORDINATORS, &[], |row| row.id(1))? {
        fanout.tell(coordinator, &Event::DerpMap { network });
    }
    Ok(())
}
