//! Whatever the extension writes, in whatever order peers, workers and connections do what they do: in the end every
//! peer knows what the tables say.

mod flight;
mod model;
mod op;
mod socket;
mod world;

use std::collections::BTreeSet;

use model::{COORDINATORS, Status};
use op::Op;
use proptest::prelude::*;
use socket::Socket;
use world::{PEERS, World};

fn op() -> impl Strategy<Value = Op> {
    let (peer, any, proxy) = (|| 0..PEERS, || 0..64_usize, || 0..COORDINATORS);
    prop_oneof![
        6 => (peer(), proxy()).prop_map(|(peer, proxy)| Op::Connect { peer, proxy }),
        7 => any().prop_map(|which| Op::Join { which }),
        8 => (any(), 0..6_i64).prop_map(|(socket, node)| Op::Announce { socket, node }),
        14 => (any(), peer(), prop::bool::weighted(0.7)).prop_map(|(socket, dst, open)| Op::Tunnel { socket, dst, open }),
        1 => any().prop_map(|socket| Op::Disconnect { socket }),
        2 => any().prop_map(|socket| Op::Break { socket }),
        6 => any().prop_map(|socket| Op::Write { socket }),
        20 => (proxy(), 0..3_usize, 1..4_usize).prop_map(|(proxy, role, limit)| Op::Take { proxy, role, limit }),
        20 => any().prop_map(|which| Op::Commit { which }),
        2 => any().prop_map(|which| Op::Fail { which }),
        1 => any().prop_map(|which| Op::CommitAndCut { which }),
        14 => (proxy(), 1..4_usize).prop_map(|(proxy, messages)| Op::Deliver { proxy, messages }),
        4 => proxy().prop_map(|proxy| Op::Ask { proxy }),
        4 => proxy().prop_map(|proxy| Op::Answer { proxy }),
        2 => proxy().prop_map(|proxy| Op::Cut { proxy }),
        4 => proxy().prop_map(|proxy| Op::Register { proxy }),
        6 => proxy().prop_map(|proxy| Op::Listen { proxy }),
        3 => proxy().prop_map(|proxy| Op::Beat { proxy }),
        1 => proxy().prop_map(|proxy| Op::Expire { proxy }),
        1 => (peer(), peer()).prop_map(|(src, dst)| Op::Revoke { src, dst }),
        1 => Just(Op::Crash),
        2 => Just(Op::Settle),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_view_ends_on_what_the_tables_say(page_size in 1..4_usize, ops in prop::collection::vec(op(), 1..250)) {
        let mut world = World::new(page_size);
        for op in &ops {
            world.step(op);
        }
        world.settle();
        let mut connected = BTreeSet::new();
        for socket in &world.sockets {
            prop_assert!(connected.insert(socket.id.peer), "two sessions of {}", socket.id.peer);
            check(&world, socket)?;
        }
    }
}

fn check(world: &World, socket: &Socket) -> Result<(), TestCaseError> {
    let (model, id) = (&world.model, socket.id);
    let row = model.rows.get(&id.peer).copied();
    prop_assert_eq!(row.map(|row| (row.coordinator, row.session)), Some((Some(socket.proxy), id.number)));
    if let Some(node) = socket.announced {
        prop_assert_eq!(row.and_then(|row| row.status), Some(Status::Ok(node)), "{} announced it", id);
    }
    for (dst, open) in &socket.wished {
        let tunnel = (id.peer, *dst);
        if !model.revoked.contains(&tunnel) && id.peer != *dst {
            prop_assert_eq!(model.tunnels.contains(&tunnel), *open, "{} asked for it to {}", id, dst);
        }
    }
    let partners = model.partners(id.peer);
    for other in &partners {
        let known = socket.known.get(other).copied();
        match model.rows.get(other).and_then(|row| row.status) {
            Some(Status::Ok(node)) => prop_assert_eq!(known, Some(Status::Ok(node)), "{} of {}", id, other),
            Some(Status::Lost) => {
                prop_assert!(matches!(known, None | Some(Status::Lost)), "{} of {}: {:?}", id, other, known);
            }
            None => prop_assert_eq!(known, None, "{} of {}", id, other),
        }
    }
    for other in socket.known.keys() {
        prop_assert!(partners.contains(other), "{} knows {}, with whom it shares no tunnel", id, other);
    }
    Ok(())
}

/// A tunnel is closed while a restore that still has it is in flight.
#[test]
fn a_tunnel_that_is_closed_during_a_restore_stays_closed() {
    let (proxy, socket) = (0, 0);
    let take = |role| Op::Take { proxy, role, limit: 3 };
    let deliver = || Op::Deliver { proxy, messages: 100 };
    let ops = [
        Op::Connect { peer: 0, proxy },
        Op::Join { which: 0 },
        take(0),
        Op::Commit { which: 0 },
        Op::Tunnel { socket, dst: 1, open: true },
        take(1),
        Op::Commit { which: 0 },
        deliver(),
        Op::Settle,
        Op::Ask { proxy },
        Op::Answer { proxy },
        Op::Ask { proxy },
        Op::Answer { proxy },
        Op::Cut { proxy },
        Op::Register { proxy },
        Op::Listen { proxy },
        take(0),
        Op::Tunnel { socket, dst: 1, open: false },
        take(1),
        Op::Commit { which: 1 },
        Op::Commit { which: 0 },
        Op::Settle,
    ];
    let mut world = World::new(3);
    ops.iter().for_each(|op| world.step(op));
    check(&world, &world.sockets[0]).expect("the tables say what the peer asked for");
}
