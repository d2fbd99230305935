//! Whatever the extension writes, in whatever order peers, workers and connections do what they do: in the end every
//! peer knows what the tables say.

mod database;
mod flight;
mod op;
mod proxy;
mod socket;
mod world;

use std::collections::BTreeSet;

use op::Op;
use proptest::prelude::*;
use socket::Socket;
use tailnet_model::{
    coordinators::COORDINATORS,
    event::Binding,
    peers::{PEERS, Peer},
};
use world::{World, node};

fn op() -> impl Strategy<Value = Op> {
    let (peer, any, proxy) = (|| 0..PEERS as Peer, || 0..64_usize, || 0..COORDINATORS);
    prop_oneof![
        6 => (peer(), proxy()).prop_map(|(peer, proxy)| Op::Connect { peer, proxy }),
        7 => any().prop_map(|which| Op::Join { which }),
        8 => (any(), 0..6_u8).prop_map(|(socket, node)| Op::Announce { socket, node }),
        14 => (any(), peer(), prop::bool::weighted(0.7)).prop_map(|(socket, dst, open)| Op::Tunnel { socket, dst, open }),
        1 => any().prop_map(|socket| Op::Disconnect { socket }),
        2 => any().prop_map(|socket| Op::Break { socket }),
        6 => any().prop_map(|socket| Op::Write { socket }),
        20 => (proxy(), 0..3_usize, 1..4_usize).prop_map(|(proxy, worker, limit)| Op::Take { proxy, worker, limit }),
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
    let (database, id) = (&world.database, socket.id);
    let tables = &database.tables;
    prop_assert!(tables.is_current(socket.proxy, id), "{:?}: {:?}", id, tables.row(id.peer));
    if let Some(version) = socket.announced {
        prop_assert_eq!(tables.binding(id.peer), Some(Binding::Ok(node(version))), "{:?} announced it", id);
    }
    for (dst, open) in &socket.wished {
        if !database.revoked.contains(id.peer, *dst) && id.peer != *dst {
            prop_assert_eq!(tables.tunnels.contains(id.peer, *dst), *open, "{:?} asked for it to {}", id, dst);
        }
    }
    let wrong = tables.misjudged(id.peer, |other| socket.known.get(&other).copied());
    prop_assert!(wrong.is_none(), "{:?} of {:?}: {:?}, but {:?}", id, wrong, socket.known, tables);
    Ok(())
}

/// A tunnel is closed while a restore that still has it is in flight.
#[test]
fn a_tunnel_that_is_closed_during_a_restore_stays_closed() {
    let (proxy, socket) = (0, 0);
    let take = |worker| Op::Take { proxy, worker, limit: 3 };
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
