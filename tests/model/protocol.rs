//! A configuration of the protocol as a model that stateright can go through.

use stateright::{Model, Property};

use crate::{event::PEERS, guards::Guards, property, step::Step, world::World};

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
    /// What the protocol does against the faults.
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
        property::all()
    }
}
