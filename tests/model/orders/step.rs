//! What can happen next.

use tailnet_model::{call::Call, event::Session, peers::Peer};

use crate::{
    flight::Flight,
    protocol::{CLIENT, Fault, Protocol},
    proxy::{Phase, Proxy},
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
    /// A websocket ends, with a goodbye or without.
    End(Fault, usize, Session),
    /// Without the lock, a change reads before it writes.
    Look(Flight),
    /// A call is committed.
    Commit(Flight),
    /// A message of a log comes.
    Deliver(usize),
    /// A view comes that did not travel in the log.
    Result(usize),
    /// A proxy that doubts begins anew.
    Register(usize),
    /// It hears its log from here on.
    Listen(usize),
    /// A heartbeat.
    Beat(usize),
    /// The time of an expiry passes for all who are well.
    PassTime,
    /// A proxy or the database breaks.
    Fault(Fault, usize),
    /// A proxy that was stopped goes on.
    Resume(usize),
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
                let ends = [(Fault::Break, true), (Fault::Goodbye, socket.attached)];
                let ends = ends.into_iter().filter(|(fault, may)| *may && world.left[*fault as usize] > 0);
                steps.extend(ends.map(|(fault, _)| Step::End(fault, at, id)));
            }
        }
    }

    /// What may break now. A proxy that is not standing has nothing more to lose by a cut.
    pub fn faults(&self, world: &World, steps: &mut Vec<Step>) {
        let standing = |(_, proxy): &(usize, &Proxy)| proxy.phase == Phase::Standing && !proxy.stalled;
        let of_proxies = world.proxies.iter().enumerate().filter(standing);
        let of_proxies = of_proxies.flat_map(|(at, _)| [Fault::Cut, Fault::Stall, Fault::Die].map(|fault| (fault, at)));
        let faults = of_proxies.chain([(Fault::StallDatabase, 0), (Fault::Crash, 0)]);
        let faults = faults.filter(|(fault, _)| world.left[*fault as usize] > 0);
        steps.extend(faults.map(|(fault, at)| Step::Fault(fault, at)));
    }

    /// Does one of the steps above.
    pub fn take(&self, world: &mut World, step: Step) {
        match step {
            Step::Connect(peer, at) => world.connect(peer, at),
            Step::Announce(at, id) => world.act(at, |proxy| proxy.announce(id)),
            Step::Open(at, id, agent) => world.act(at, |proxy| proxy.wish(id, agent)),
            Step::End(fault, at, id) => {
                world.left[fault as usize] -= 1;
                world.end(at, id, if fault == Fault::Goodbye { Request::Disconnect } else { Request::Lose });
            }
            Step::Look(flight) => world.look(&flight),
            Step::Commit(flight) => world.commit(&flight, self),
            Step::Deliver(at) => world.deliver(at),
            Step::Result(at) => world.result(at),
            Step::Register(at) => world.register(at, &self.guards),
            Step::Listen(at) => world.listen(at, &self.guards),
            Step::Beat(at) => world.beat(at, &self.guards),
            Step::PassTime => {
                let beating = world.beating();
                world.tables.coordinators.pass_time(&beating);
            }
            Step::Fault(fault, at) => {
                world.left[fault as usize] -= 1;
                match fault {
                    Fault::Cut => world.doubt(at),
                    Fault::Stall => world.stall(at),
                    Fault::Die => world.die(at),
                    Fault::StallDatabase => world.stall_database(),
                    Fault::Crash => world.crash(&self.guards),
                    Fault::Break | Fault::Goodbye => unreachable!("these end a session"),
                }
            }
            Step::Resume(at) => world.proxies[at].stalled = false,
        }
    }
}
