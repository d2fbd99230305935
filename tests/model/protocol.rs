//! Which steps are possible, and what must hold after each of them.

use stateright::{Model, Property};

use crate::{
    call::{Call, Flight, Request},
    event::{Binding, CLIENT, PEERS, Peer, Session, peers},
    guards::Guards,
    proxy::{Phase, Told},
    tables::COORDINATORS,
    world::World,
};

/// How often each fault happens at most: it keeps the state space finite.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Websockets end without a goodbye.
    pub breaks: u8,
    /// Websockets end with one.
    pub goodbyes: u8,
    /// Connections of proxies to the database are cut.
    pub cuts: u8,
    /// Proxies stop for longer than an expiry, and go on.
    pub stalls: u8,
    /// Proxies crash.
    pub deaths: u8,
    /// The database stops for longer than an expiry, and goes on.
    pub database_stalls: u8,
    /// The database crashes.
    pub crashes: u8,
}

/// One configuration of the model.
#[derive(Debug, Clone, Copy)]
pub struct Protocol {
    pub guards: Guards,
    /// The coordinator of each session of each peer, in order.
    pub plan: [&'static [usize]; PEERS],
    /// How many nodes a session announces.
    pub versions: u8,
    /// Most partners in a page of a view.
    pub page: usize,
    pub budget: Budget,
    /// The first session of each peer has announced a node and has its tunnels before anything happens.
    pub warm: bool,
}

/// A step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Connect(Peer, usize),
    Announce(usize, Session),
    Open(usize, Session, Peer),
    Break(usize, Session),
    Goodbye(usize, Session),
    Look(Flight),
    Commit(Flight),
    Deliver(usize),
    Result(usize),
    Cut(usize),
    Register(usize),
    Listen(usize),
    Beat(usize),
    PassTime,
    Stall(usize),
    Resume(usize),
    StallDatabase,
    Die(usize),
    Crash,
}

impl Protocol {
    /// What happens of itself when nothing else does.
    fn progress(&self, world: &World, steps: &mut Vec<Step>) {
        for flight in &world.flights {
            let looks = !self.guards.lock && matches!(flight.call, Call::Bind { .. } | Call::Open(_));
            let look = looks && flight.seen.is_none();
            steps.push(if look { Step::Look(flight.clone()) } else { Step::Commit(flight.clone()) });
        }
        for (at, proxy) in world.proxies.iter().enumerate() {
            if proxy.stalled {
                steps.push(Step::Resume(at));
                continue;
            }
            match proxy.phase {
                Phase::Doubting => steps.push(Step::Register(at)),
                Phase::Registered => steps.push(Step::Listen(at)),
                Phase::Standing => {
                    if !world.logs[at].is_empty() {
                        steps.push(Step::Deliver(at));
                    }
                    if !world.results[at].is_empty() {
                        steps.push(Step::Result(at));
                    }
                    let mut beaten = world.clone();
                    beaten.beat(at, self);
                    if beaten != *world {
                        steps.push(Step::Beat(at));
                    }
                }
                Phase::Dead => {}
            }
        }
        if world.all_heard() {
            let mut later = world.tables;
            later.pass_time(&world.beating());
            if later != world.tables {
                steps.push(Step::PassTime);
            }
        }
    }

    fn sessions(&self, world: &World, steps: &mut Vec<Step>) {
        let standing = |at: usize| world.proxies[at].phase == Phase::Standing && !world.proxies[at].stalled;
        for peer in peers() {
            if let Some(at) = self.plan[usize::from(peer)].get(usize::from(world.opened[usize::from(peer)]))
                && standing(*at)
            {
                steps.push(Step::Connect(peer, *at));
            }
        }
        for (at, proxy) in world.proxies.iter().enumerate().filter(|(_, proxy)| !proxy.stalled) {
            for id in proxy.sessions() {
                let local = proxy.locals[usize::from(id.peer)].expect("it was just listed");
                if local.attached && local.version < self.versions {
                    steps.push(Step::Announce(at, id));
                }
                let agents = peers().filter(|agent| *agent != CLIENT && !self.plan[usize::from(*agent)].is_empty());
                for agent in
                    agents.filter(|agent| id.peer == CLIENT && local.attached && !local.wishes.contains(*agent))
                {
                    steps.push(Step::Open(at, id, agent));
                }
                if world.left.breaks > 0 {
                    steps.push(Step::Break(at, id));
                }
                if world.left.goodbyes > 0 && local.attached {
                    steps.push(Step::Goodbye(at, id));
                }
            }
        }
    }

    fn faults(&self, world: &World, steps: &mut Vec<Step>) {
        for (at, proxy) in world.proxies.iter().enumerate() {
            if proxy.phase == Phase::Standing && !proxy.stalled {
                let faults = [
                    (world.left.cuts, Step::Cut(at)),
                    (world.left.stalls, Step::Stall(at)),
                    (world.left.deaths, Step::Die(at)),
                ];
                steps.extend(faults.into_iter().filter(|(left, _)| *left > 0).map(|(_, step)| step));
            }
        }
        if world.left.database_stalls > 0 {
            steps.push(Step::StallDatabase);
        }
        if world.left.crashes > 0 {
            steps.push(Step::Crash);
        }
    }

    fn take(&self, world: &mut World, step: Step) {
        match step {
            Step::Connect(peer, at) => world.connect(peer, at),
            Step::Announce(at, id) => world.announce(at, id),
            Step::Open(at, id, agent) => world.open(at, id, agent),
            Step::Break(at, id) => {
                world.left.breaks -= 1;
                world.end(at, id, Request::Lose);
            }
            Step::Goodbye(at, id) => {
                world.left.goodbyes -= 1;
                world.end(at, id, Request::Disconnect);
            }
            Step::Look(flight) => world.look(&flight),
            Step::Commit(flight) => world.commit(&flight, self),
            Step::Deliver(at) => world.deliver(at, self),
            Step::Result(at) => world.result(at, self),
            Step::Cut(at) => {
                world.left.cuts -= 1;
                world.doubt(at);
            }
            Step::Register(at) => world.register(at),
            Step::Listen(at) => world.listen(at),
            Step::Beat(at) => world.beat(at, self),
            Step::PassTime => {
                let beating = world.beating();
                world.tables.pass_time(&beating);
            }
            Step::Stall(at) => {
                world.left.stalls -= 1;
                world.stall(at);
            }
            Step::Resume(at) => world.proxies[at].stalled = false,
            Step::StallDatabase => {
                world.left.database_stalls -= 1;
                world.stall_database();
            }
            Step::Die(at) => {
                world.left.deaths -= 1;
                world.die(at);
            }
            Step::Crash => {
                world.left.crashes -= 1;
                world.crash(self);
            }
        }
    }

    /// Nothing happens any more of itself.
    fn rests(&self, world: &World) -> bool {
        let mut steps = Vec::new();
        self.progress(world, &mut steps);
        steps.is_empty()
    }

    /// Every view is what the tables say, and they say what the sessions asked for.
    fn converged(&self, world: &World) -> bool {
        let views = |at: usize| {
            let proxy = &world.proxies[at];
            let all = proxy.phase == Phase::Standing && proxy.settled && proxy.waiting.is_empty();
            proxy.phase == Phase::Dead || all && proxy.sessions().iter().all(|id| self.view_is_true(world, at, *id))
        };
        (0..COORDINATORS).all(views)
    }

    fn view_is_true(&self, world: &World, at: usize, id: Session) -> bool {
        let (tables, local) = (&world.tables, world.proxies[at].locals[usize::from(id.peer)].expect("a session"));
        let own = tables.row(id.peer).and_then(|row| row.binding);
        let announced = match own {
            Some(Binding::Ok(node)) => local.version == 0 || (node.session, node.version) == (id.number, local.version),
            _ => local.version == 0,
        };
        let seen = peers().all(|other| {
            let told = local.relations[usize::from(other)].told;
            let partner = tables.partners(id.peer).any(|partner| partner == other);
            match tables.row(other).and_then(|row| row.binding).filter(|_| partner) {
                None => told == Told::Nothing,
                Some(Binding::Ok(node)) => told == Told::Node(node),
                Some(Binding::Lost) => matches!(told, Told::Nothing | Told::Lost),
            }
        });
        tables.is_current(at, id) && announced && tables.tunnels.contains_all(local.wishes) && seen
    }
}

impl Model for Protocol {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        let quiet = Self { budget: Budget::default(), versions: 1, guards: Guards::BUILT, ..*self };
        let mut world = World::new(Budget::default());
        let mut steps = Vec::new();
        loop {
            steps.clear();
            quiet.progress(&world, &mut steps);
            if steps.is_empty() && self.warm {
                quiet.sessions(&world, &mut steps);
                steps.retain(|s| !matches!(s, Step::Connect(peer, _) if world.opened[usize::from(*peer)] > 0));
            }
            let Some(step) = steps.pop() else { break };
            quiet.take(&mut world, step);
        }
        world.left = self.budget;
        vec![world]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        self.progress(world, steps);
        self.sessions(world, steps);
        self.faults(world, steps);
    }

    fn next_state(&self, last: &World, step: Step) -> Option<World> {
        let mut world = last.clone();
        self.take(&mut world, step);
        (world != *last).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(BACKWARDS, |_: &Self, world: &World| !world.faults.backwards),
            Property::always(CONVERGES, |protocol: &Self, world: &World| {
                !protocol.rests(world) || protocol.converged(world)
            }),
            Property::always(FENCED, |_: &Self, world: &World| !world.faults.late),
            Property::always(HEALTHY, |_: &Self, world: &World| !world.faults.gone),
            Property::sometimes(TOLD, |_: &Self, world: &World| {
                let told =
                    |local: &crate::proxy::Local| local.relations.iter().any(|r| matches!(r.told, Told::Node(_)));
                world.proxies.iter().flat_map(|proxy| proxy.locals.iter().flatten()).any(told)
            }),
            Property::sometimes(RESTS, |protocol: &Self, world: &World| {
                let done =
                    peers().all(|p| usize::from(world.opened[usize::from(p)]) == protocol.plan[usize::from(p)].len());
                done && world.left == Budget::default() && protocol.rests(world)
            }),
        ]
    }
}

/// Property 1.
pub const BACKWARDS: &str = "a view never goes backwards";
/// Property 2.
pub const CONVERGES: &str = "every view ends on what the tables say";
/// Property 3.
pub const FENCED: &str = "no node of a superseded session is written";
/// Property 4.
pub const HEALTHY: &str = "nobody is told that a healthy session is gone";
/// Nothing above is empty.
pub const TOLD: &str = "some node is told";
/// All sessions were opened, all faults have happened, and everything came to rest.
pub const RESTS: &str = "all comes to rest after all faults";
