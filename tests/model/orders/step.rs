//! What can happen next.

use tailnet_model::{call::Call, event::Session, peers::Peer};

use crate::{
    flight::Flight,
    protocol::{CLIENT, Protocol},
    proxy::Phase,
    request::Request,
    world::World,
};

/// A step. Everything in it happens at once, as far as the others can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A peer opens its next session.
    Connect(Peer, usize),
    /// A session announces its next node.
    Announce(usize, Session),
    /// The client asks for a tunnel.
    Open(usize, Session, Peer),
    /// A websocket ends without a goodbye.
    Break(usize, Session),
    /// A websocket ends with one.
    Goodbye(usize, Session),
    /// Without the lock, a change reads before it writes.
    Look(Flight),
    /// A call is committed.
    Commit(Flight),
    /// A message of a log comes.
    Deliver(usize),
    /// A view comes that did not travel in the log.
    Result(usize),
    /// Some connection of a proxy to the database is cut.
    Cut(usize),
    /// A proxy that doubts begins anew.
    Register(usize),
    /// It hears its log from here on.
    Listen(usize),
    /// A heartbeat.
    Beat(usize),
    /// The time of an expiry passes for all who are well.
    PassTime,
    /// A proxy stops.
    Stall(usize),
    /// It goes on.
    Resume(usize),
    /// The database stops, and goes on.
    StallDatabase,
    /// A proxy crashes.
    Die(usize),
    /// The database crashes.
    Crash,
}

impl Protocol {
    /// What happens of itself when nothing else does.
    pub fn progress(&self, world: &World, steps: &mut Vec<Step>) {
        for flight in &world.flights {
            let looks = !self.guards.lock && matches!(flight.call, Call::Bind(_) | Call::Open(_));
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
                    if world.has_to_beat(at, &self.guards) {
                        steps.push(Step::Beat(at));
                    }
                }
                Phase::Dead => {}
            }
        }
        if world.all_heard() {
            let mut later = world.tables.coordinators;
            later.pass_time(&world.beating());
            if later != world.tables.coordinators {
                steps.push(Step::PassTime);
            }
        }
    }

    /// What the peers do: any of it at any time, for nothing may rest on their order.
    pub fn sessions(&self, world: &World, steps: &mut Vec<Step>) {
        let standing = |at: usize| world.proxies[at].phase == Phase::Standing && !world.proxies[at].stalled;
        for (peer, plan) in self.plans() {
            if let Some(at) = plan.get(usize::from(world.opened[usize::from(peer)]))
                && standing(*at)
            {
                steps.push(Step::Connect(peer, *at));
            }
        }
        for (at, proxy) in world.proxies.iter().enumerate().filter(|(_, proxy)| !proxy.stalled) {
            for id in proxy.sessions() {
                let socket = proxy.socket(id.peer).expect("it was just listed");
                if socket.attached && socket.version < self.versions {
                    steps.push(Step::Announce(at, id));
                }
                if socket.attached && id.peer == CLIENT {
                    let agents = self.plans().filter(|(peer, plan)| *peer != CLIENT && !plan.is_empty());
                    let wanted = agents.filter(|(agent, _)| !socket.wishes.contains(*agent));
                    steps.extend(wanted.map(|(agent, _)| Step::Open(at, id, agent)));
                }
                if world.left.breaks > 0 {
                    steps.push(Step::Break(at, id));
                }
                if world.left.goodbyes > 0 && socket.attached {
                    steps.push(Step::Goodbye(at, id));
                }
            }
        }
    }

    /// What may break now. A proxy that is not standing has nothing more to lose by a cut.
    pub fn faults(&self, world: &World, steps: &mut Vec<Step>) {
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

    /// Does one of the steps above.
    pub fn take(&self, world: &mut World, step: Step) {
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
            Step::Deliver(at) => world.deliver(at),
            Step::Result(at) => world.result(at),
            Step::Cut(at) => {
                world.left.cuts -= 1;
                world.doubt(at);
            }
            Step::Register(at) => world.register(at, &self.guards),
            Step::Listen(at) => world.listen(at, &self.guards),
            Step::Beat(at) => world.beat(at, &self.guards),
            Step::PassTime => {
                let beating = world.beating();
                world.tables.coordinators.pass_time(&beating);
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
                world.crash(&self.guards);
            }
        }
    }
}
