//! What must hold in every state, and what must be possible at all.

use stateright::Property;
use tailnet_model::{
    coordinators::COORDINATORS,
    event::{Binding, Session},
    peers::peers,
};

use crate::{
    protocol::{FAULTS, Protocol},
    proxy::{Phase, Proxy},
    world::World,
};

/// A proxy is a fold over an ordered log, so no session is told of an older node than before.
pub const BACKWARDS: &str = "a view never goes backwards";
/// When nothing is on its way any more, nobody waits for something that will never be told.
pub const CONVERGES: &str = "every view ends on what the tables say";
/// Late writes of old sessions have no effect.
pub const FENCED: &str = "no node of a superseded session is written";
/// Neither stalls nor crashes make anybody believe that a session ended which stood all the time.
pub const HEALTHY: &str = "nobody is told that a healthy session is gone";
/// A goodbye ends the peer's sessions, not only the one that says it.
pub const OVER: &str = "no session stands whose peer has left since";
/// A node says where a peer is: that is for its partners only.
pub const PARTNERS: &str = "only nodes of partners are told";
/// The properties above are not empty: they speak of views that change.
pub const TOLD: &str = "some node is told";
/// The model does not get stuck before the faults: all sessions were opened, all faults have happened, and all is calm.
pub const RESTS: &str = "all comes to rest after all faults";

/// All of them.
pub fn all() -> Vec<Property<Protocol>> {
    vec![
        Property::always(BACKWARDS, |_: &Protocol, world: &World| !world.history.violations.backwards),
        Property::always(CONVERGES, |protocol: &Protocol, world: &World| {
            !protocol.rests(world) || protocol.converged(world)
        }),
        Property::always(FENCED, |_: &Protocol, world: &World| !world.history.violations.late),
        Property::always(HEALTHY, |_: &Protocol, world: &World| !world.history.violations.gone),
        Property::always(OVER, |protocol: &Protocol, world: &World| !protocol.rests(world) || !leftover(world)),
        Property::always(PARTNERS, |_: &Protocol, world: &World| !world.history.violations.stranger),
        Property::sometimes(TOLD, |_: &Protocol, world: &World| {
            let sockets = world.proxies.iter().flat_map(|proxy| peers().filter_map(|peer| proxy.socket(peer)));
            sockets.flat_map(|socket| socket.known).any(|known| matches!(known, Some(Binding::Ok(_))))
        }),
        Property::sometimes(RESTS, |protocol: &Protocol, world: &World| {
            let opened = |peer| usize::from(world.opened[usize::from(peer)]);
            let done = protocol.plans().all(|(peer, plan)| opened(peer) == plan.len());
            done && world.left == [0; FAULTS] && protocol.rests(world)
        }),
    ]
}

/// Whether a proxy holds a session that a goodbye should have ended.
fn leftover(world: &World) -> bool {
    world.proxies.iter().flat_map(Proxy::sessions).any(|id| world.history.is_over(id))
}

impl Protocol {
    /// Nothing happens any more of itself.
    pub fn rests(&self, world: &World) -> bool {
        let mut steps = Vec::new();
        self.progress(world, &mut steps);
        steps.is_empty()
    }

    /// Every view is what the tables say, and they say what the sessions asked for.
    pub fn converged(&self, world: &World) -> bool {
        let views = |at: usize| {
            let proxy = &world.proxies[at];
            let all = proxy.phase == Phase::Standing && proxy.settled && proxy.waiting.is_empty();
            proxy.phase == Phase::Dead || all && proxy.sessions().iter().all(|id| self.view_is_true(world, at, *id))
        };
        (0..COORDINATORS).all(views)
    }

    /// The session is the current one, has what it asked for, and knows exactly the nodes of its partners.
    fn view_is_true(&self, world: &World, at: usize, id: Session) -> bool {
        let (tables, socket) = (&world.tables, world.proxies[at].socket(id.peer).expect("a session"));
        tables.is_current(at, id)
            && (socket.version == 0 || tables.node(id.peer) == Some(socket.node()))
            && tables.tunnels.of(id.peer).contains_all(socket.wishes)
            && tables.misjudged(id.peer, |other| socket.known[usize::from(other)]).is_none()
    }
}
