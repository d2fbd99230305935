//! The ordering and restore protocol of `docs/design.md`, in every order that its steps can have, checked exhaustively
//! for a client and one or two agents on two coordinators.
//!
//! - [`tables`]: the functions of `pg_ext/src/{coordinator,reaper,session,binding,tunnel,view}.rs`, each one transaction
//! - [`proxy`], [`local`]: `proxy/src/{fold,local,told}.rs`, and the merging of requests in `batcher.rs`, `request.rs`
//! - [`world`]: `hub.rs`, `worker.rs`, `coordinator.rs` of the proxy; [`failure`]: what can break
//! - [`step`], [`property`], [`history`]: what can happen, and what must hold after it
//!
//! Each test breaks nothing, and then every property holds in every state; or one of the [`guards`], and then one fails.
//!
//! Time has no length: a coordinator was heard within the time of an expiry or not. Not modelled: closed tunnels (so
//! no wishes and marks, see `proxy/tests/fold`), handshakes, roles, revocation, removal of lost peers, batches, the
//! outbox, which only leaves out steps of a view. The newest session number of a peer is committed without waiting for the
//! disk: without the guard `durable_number` a crash forgets what no goodbye has followed, see "Fencing".

mod call;
mod event;
mod failure;
mod guards;
mod history;
mod local;
mod property;
mod protocol;
mod proxy;
mod step;
mod tables;
mod world;

use std::time::Instant;

use guards::Guards;
use property::{BACKWARDS, CONVERGES, FENCED, HEALTHY, OVER, PARTNERS};
use protocol::{Budget, Protocol};
use stateright::{Checker, HasDiscoveries, Model, Path};
use step::Step;
use world::World;

/// One client on one coordinator, one agent on the other, with their tunnel, and nothing breaks.
const BASE: Protocol = Protocol {
    guards: Guards::BUILT,
    plan: [&[0], &[1], &[]],
    versions: 1,
    page: 8,
    budget: Budget { breaks: 0, goodbyes: 0, cuts: 0, stalls: 0, deaths: 0, database_stalls: 0, crashes: 0 },
    warm: true,
};

/// A tunnel and two nodes come into being at once.
const ORDERING: Protocol = Protocol { versions: 2, warm: false, ..BASE };
/// A call that was cut is overtaken by newer ones.
const LATE: Protocol = Protocol { versions: 3, budget: Budget { cuts: 1, ..BASE.budget }, ..BASE };
/// A session moves from one coordinator to the other.
const TAKEOVER: Protocol =
    Protocol { plan: [&[0], &[1, 0], &[]], versions: 2, budget: Budget { cuts: 1, ..BASE.budget }, ..BASE };
/// One who was silent cannot tell whether it was himself.
const STALL: Protocol =
    Protocol { budget: Budget { stalls: 1, database_stalls: 1, ..BASE.budget }, versions: 2, ..BASE };
/// All has to be restored while a session moves.
const CRASH: Protocol = Protocol { plan: [&[0], &[1, 0], &[]], budget: Budget { crashes: 1, ..BASE.budget }, ..BASE };
/// While all is restored, nobody can come back for a while.
const DEAFNESS: Protocol = Protocol { budget: Budget { crashes: 1, database_stalls: 1, ..BASE.budget }, ..BASE };
/// The same while all is restored.
const CRASH_PAGES: Protocol =
    Protocol { plan: [&[0], &[1], &[1]], page: 1, budget: Budget { crashes: 1, cuts: 1, ..BASE.budget }, ..BASE };
/// Not everybody comes back.
const DEATH: Protocol =
    Protocol { plan: [&[0], &[1, 0], &[]], budget: Budget { deaths: 1, crashes: 1, ..BASE.budget }, ..BASE };
/// The log goes on between two pages of a view.
const PAGES: Protocol = Protocol {
    plan: [&[0], &[1], &[1]],
    page: 1,
    versions: 2,
    budget: Budget { cuts: 1, breaks: 1, ..BASE.budget },
    ..BASE
};
/// The client comes back after a goodbye, and one of the agents on the other coordinator may not have heard of either.
const STRANGERS: Protocol =
    Protocol { plan: [&[1, 1], &[0], &[0]], budget: Budget { goodbyes: 1, cuts: 1, ..BASE.budget }, ..BASE };

/// A session that took over leaves while all is restored.
const FORGOTTEN: Protocol = Protocol {
    guards: Guards { durable_number: false, ..Guards::BUILT },
    budget: Budget { crashes: 1, goodbyes: 1, ..BASE.budget },
    ..CRASH
};

/// More faults at once: this and the following are too large for the guards.
const CUTS: Protocol =
    Protocol { versions: 2, budget: Budget { cuts: 2, breaks: 1, goodbyes: 1, ..BASE.budget }, ..BASE };
/// Both sessions move, and their numbers are compared on both sides.
const TAKEOVERS: Protocol =
    Protocol { plan: [&[0, 1], &[1, 0], &[]], budget: Budget { breaks: 1, ..BASE.budget }, ..BASE };
/// Silence of all three kinds while a session moves.
const STALLS: Protocol =
    Protocol { budget: Budget { stalls: 1, database_stalls: 1, crashes: 1, ..BASE.budget }, ..CRASH };
/// A restore is interrupted, by a crash or a cut.
const CRASHES: Protocol = Protocol { budget: Budget { crashes: 2, cuts: 1, ..BASE.budget }, ..CRASH };

/// All properties hold in every state.
fn holds(name: &str, protocol: Protocol) {
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
fn holds_at_least(name: &str, protocol: Protocol, properties: &[&'static str]) {
    let any = HasDiscoveries::AnyOf(properties.iter().copied().collect());
    let checker = protocol.checker().threads(1).finish_when(any).spawn_bfs().join();
    eprintln!("{name}: {} unique states", checker.unique_state_count());
    for property in properties {
        let path = checker.discovery(property);
        assert!(path.is_none(), "{name}: {property}: {:#?}", path.map(Path::into_actions));
    }
}

/// Without a guard a property fails.
fn fails(name: &str, protocol: Protocol, guards: Guards, property: &'static str) {
    let path = shortest(&Protocol { guards, ..protocol }, property);
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

#[test]
fn changes_are_seen_in_one_order() {
    holds("ordering", ORDERING);
}

#[test]
fn a_session_is_taken_over_while_calls_are_cut() {
    holds("takeover", TAKEOVER);
}

#[test]
fn a_coordinator_or_the_database_stalls() {
    holds("stall", STALL);
}

#[test]
fn the_database_crashes() {
    holds("crash", CRASH);
}

#[test]
fn connections_are_cut_and_sessions_end() {
    holds("cuts", CUTS);
}

#[test]
fn both_peers_are_taken_over() {
    holds("takeovers", TAKEOVERS);
}

#[test]
fn a_coordinator_and_the_database_crash() {
    holds("death", DEATH);
}

#[test]
fn views_change_between_their_pages() {
    holds("pages", PAGES);
}

#[test]
fn a_late_call_is_refused() {
    holds("late", LATE);
}

#[test]
fn a_client_comes_back_without_its_tunnels() {
    holds("strangers", STRANGERS);
}

#[test]
fn a_coordinator_and_the_database_stall_and_it_crashes() {
    holds("stalls", STALLS);
}

#[test]
fn the_database_crashes_twice() {
    holds("crashes", CRASHES);
}

#[test]
fn the_database_crashes_between_pages() {
    holds("crash between pages", CRASH_PAGES);
}

#[test]
fn without_the_lock_a_change_is_missed() {
    fails("no lock", ORDERING, Guards { lock: false, ..Guards::BUILT }, CONVERGES);
}

#[test]
fn a_view_outside_of_the_log_is_stale() {
    fails("no views in the log", ORDERING, Guards { views_in_log: false, ..Guards::BUILT }, CONVERGES);
}

#[test]
fn without_fencing_a_late_write_is_seen() {
    let guards = Guards { fencing: false, ..Guards::BUILT };
    fails("no fencing", TAKEOVER, guards, FENCED);
    fails("no fencing", TAKEOVER, guards, BACKWARDS);
}

#[test]
fn a_reaper_that_was_deaf_expires_the_healthy() {
    fails("no guard of the reaper", STALL, Guards { deaf_do_not_reap: false, ..Guards::BUILT }, HEALTHY);
}

#[test]
fn without_a_grace_absence_is_told_too_early() {
    fails("no grace", CRASH, Guards { grace: false, ..Guards::BUILT }, HEALTHY);
}

#[test]
fn without_a_durable_number_an_old_session_comes_back() {
    let guards = Guards { durable_number: false, ..Guards::BUILT };
    fails("no durable number", CRASH, guards, FENCED);
    fails("no durable number", CRASH, guards, BACKWARDS);
}

#[test]
fn a_goodbye_is_final_even_for_whom_a_crash_forgot() {
    holds_at_least("forgotten", FORGOTTEN, &[CONVERGES, OVER, PARTNERS]);
    let guards = Guards { final_goodbye: false, ..FORGOTTEN.guards };
    fails("no final goodbye", FORGOTTEN, guards, OVER);
}

#[test]
fn without_admission_a_call_comes_after_its_registration() {
    let guards = Guards { admission: false, ..Guards::BUILT };
    fails("no admission", LATE, guards, BACKWARDS);
    fails("no admission", LATE, guards, CONVERGES);
}

#[test]
fn without_coverage_a_stranger_is_told() {
    fails("no coverage", STRANGERS, Guards { coverage: false, ..Guards::BUILT }, PARTNERS);
}

#[test]
fn without_coverage_absence_is_told_before_the_page() {
    fails("no coverage", CRASH_PAGES, Guards { coverage: false, ..Guards::BUILT }, HEALTHY);
}

#[test]
fn who_was_deaf_tells_absence_too_early() {
    fails("deaf who settle", DEAFNESS, Guards { deaf_do_not_settle: false, ..Guards::BUILT }, HEALTHY);
}
