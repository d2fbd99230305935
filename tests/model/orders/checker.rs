//! The protocol as a model that stateright can go through, and what it is to find.

use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model, Path, Property};
use tailnet_model::guards::Guards;

use crate::{
    property,
    protocol::{Budget, Protocol},
    step::Step,
    world::World,
};

impl Model for Protocol {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        let quiet = Self { faults: &[], versions: 1, guards: Guards::BUILT, ..*self };
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
        world.left = self.budget();
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

/// All properties hold in every state.
pub fn holds(name: &str, protocol: Protocol) {
    let begun = Instant::now();
    let checker = protocol.checker().threads(1).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    eprintln!(
        "{name}: {} states, {} unique, depth {}, {:.1} s",
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth(),
        begun.elapsed().as_secs_f64()
    );
    protocol.properties().iter().for_each(|property| println!("  {:?}: {}", property.expectation, property.name));
    for (found, path) in checker.discoveries() {
        if protocol.property(found).expectation.discovery_is_failure() {
            println!("{found}: {:#?}\n{:#?}", path.clone().into_actions(), path.last_state());
        }
    }
    checker.assert_properties();
}

/// These properties hold in every state, whatever the others do.
pub fn holds_at_least(name: &str, protocol: Protocol, properties: &[&'static str]) {
    let any = HasDiscoveries::AnyOf(properties.iter().copied().collect());
    let checker = protocol.checker().threads(1).finish_when(any).spawn_bfs().join();
    eprintln!("{name}: {} unique states", checker.unique_state_count());
    for property in properties {
        let path = checker.discovery(property);
        assert!(path.is_none(), "{name}: {property}: {:#?}", path.map(Path::into_actions));
    }
}

/// A property fails in some state.
pub fn fails(name: &str, protocol: Protocol, property: &'static str) {
    let path = shortest(&protocol, property);
    let path = path.unwrap_or_else(|| panic!("{name}: {property}: no counterexample found")).into_actions();
    eprintln!("{name}: {property}: fails after {} steps", path.len());
    println!("{path:#?}");
}

/// The first path that is found may go on after the failure, or be longer than another.
fn shortest(protocol: &Protocol, property: &'static str) -> Option<Path<World, Step>> {
    let mut found: Option<Path<World, Step>> = None;
    loop {
        let mut search = protocol.checker().threads(1).finish_when(HasDiscoveries::AnyOf([property].into()));
        if let Some(path) = &found {
            search = search.target_max_depth(path.clone().into_states().len());
        }
        match search.spawn_bfs().join().discovery(property) {
            Some(path) => found = Some(path),
            None => return found,
        }
    }
}
