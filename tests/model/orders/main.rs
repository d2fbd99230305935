//! The ordering and restore protocol of `docs/design.md`, in every order that its steps can have, checked exhaustively
//! for a client and one or two agents on two coordinators.
//!
//! - the extension is the tables of this crate; each of their functions is one transaction
//! - [`proxy`]: the proxy's own fold, and the requests that wait; [`request`]: how requests are merged; [`socket`]: what a
//!   peer was told
//! - [`world`]: all there is at one time; [`flight`]: calls on their way; [`failure`]: what can break
//! - [`step`], [`property`], [`history`]: what can happen, and what must hold after it
//! - [`protocol`], [`checker`]: the configurations, and what stateright does with them
//!
//! Each test breaks nothing, and then every property holds in every state; or one of the guards, and then one fails.
//!
//! Time has no length: a coordinator was heard within the time of an expiry or not. Not modelled: closed tunnels (so
//! no marks, see `tests/model/fold`), handshakes, roles, revocation, removal of lost peers, batches, and updates that wait in
//! an outbox, which only leaves out steps of a view. The newest session number of a peer is committed without waiting for the
//! disk: without the guard `durable_number` a crash forgets what no goodbye has followed, see "Fencing".

mod checker;
mod failure;
mod flight;
mod history;
mod property;
mod protocol;
mod proxy;
mod request;
mod socket;
mod step;
mod world;

use checker::{fails, holds, holds_at_least};
use property::{BACKWARDS, CONVERGES, FENCED, HEALTHY, OVER, PARTNERS};
use protocol::{
    Fault::{Break, Crash, Cut, Die, Goodbye, Stall, StallDatabase},
    Protocol,
};
use tailnet_model::guards::Guards;

/// One client on one coordinator, one agent on the other, with their tunnel, and nothing breaks.
const BASE: Protocol =
    Protocol { guards: Guards::BUILT, plan: [&[0], &[1], &[]], versions: 1, page: 8, faults: &[], warm: true };

/// A tunnel and two nodes come into being at once.
const ORDERING: Protocol = Protocol { versions: 2, warm: false, ..BASE };
/// A call that was cut is overtaken by newer ones.
const LATE: Protocol = Protocol { versions: 3, faults: &[(Cut, 1)], ..BASE };
/// A session moves from one coordinator to the other.
const TAKEOVER: Protocol = Protocol { plan: [&[0], &[1, 0], &[]], versions: 2, faults: &[(Cut, 1)], ..BASE };
/// One who was silent cannot tell whether it was himself.
const STALL: Protocol = Protocol { faults: &[(Stall, 1), (StallDatabase, 1)], versions: 2, ..BASE };
/// All has to be restored while a session moves.
const CRASH: Protocol = Protocol { plan: [&[0], &[1, 0], &[]], faults: &[(Crash, 1)], ..BASE };
/// While all is restored, nobody can come back for a while.
const SILENCE: Protocol = Protocol { faults: &[(Crash, 1), (StallDatabase, 1)], ..BASE };
/// The same while all is restored.
const CRASH_PAGES: Protocol = Protocol { plan: [&[0], &[1], &[1]], page: 1, faults: &[(Crash, 1), (Cut, 1)], ..BASE };
/// Not everybody comes back.
const DEATH: Protocol = Protocol { plan: [&[0], &[1, 0], &[]], faults: &[(Die, 1), (Crash, 1)], ..BASE };
/// The log goes on between two pages of a view.
const PAGES: Protocol =
    Protocol { plan: [&[0], &[1], &[1]], page: 1, versions: 2, faults: &[(Cut, 1), (Break, 1)], ..BASE };
/// The client comes back after a goodbye, and one of the agents on the other coordinator may not have heard of either.
const STRANGERS: Protocol = Protocol { plan: [&[1, 1], &[0], &[0]], faults: &[(Goodbye, 1), (Cut, 1)], ..BASE };

/// A session that took over leaves while all is restored.
const FORGOTTEN: Protocol = Protocol {
    guards: Guards { durable_number: false, ..Guards::BUILT },
    faults: &[(Crash, 1), (Goodbye, 1)],
    ..CRASH
};

/// More faults at once: this and the following are too large for the guards.
const CUTS: Protocol = Protocol { versions: 2, faults: &[(Cut, 2), (Break, 1), (Goodbye, 1)], ..BASE };
/// Both sessions move, and their numbers are compared on both sides.
const TAKEOVERS: Protocol = Protocol { plan: [&[0, 1], &[1, 0], &[]], faults: &[(Break, 1)], ..BASE };
/// Silence of all three kinds while a session moves.
const STALLS: Protocol = Protocol { faults: &[(Stall, 1), (StallDatabase, 1), (Crash, 1)], ..CRASH };
/// A restore is interrupted, by a crash or a cut.
const CRASHES: Protocol = Protocol { faults: &[(Crash, 2), (Cut, 1)], ..CRASH };

/// A test for each line: every property holds in every state.
macro_rules! hold {
    ($($name:ident: $protocol:ident;)+) => {
        $(#[test] fn $name() { holds(stringify!($protocol), $protocol); })+
    };
}

/// A test for each line: without a guard, these properties fail.
macro_rules! need {
    ($($name:ident: $protocol:ident without $guard:ident breaks $($property:ident),+;)+) => {
        $(#[test] fn $name() {
            let guards = Guards { $guard: false, ..$protocol.guards };
            $(fails(stringify!($guard), Protocol { guards, ..$protocol }, $property);)+
        })+
    };
}

hold! {
    changes_are_seen_in_one_order: ORDERING;
    a_session_is_taken_over_while_calls_are_cut: TAKEOVER;
    a_coordinator_or_the_database_stalls: STALL;
    the_database_crashes: CRASH;
    connections_are_cut_and_sessions_end: CUTS;
    both_peers_are_taken_over: TAKEOVERS;
    a_coordinator_and_the_database_crash: DEATH;
    views_change_between_their_pages: PAGES;
    a_late_call_is_refused: LATE;
    a_client_comes_back_without_its_tunnels: STRANGERS;
    a_coordinator_and_the_database_stall_and_it_crashes: STALLS;
    the_database_crashes_twice: CRASHES;
    the_database_crashes_between_pages: CRASH_PAGES;
}

need! {
    without_the_lock_a_change_is_missed: ORDERING without lock breaks CONVERGES;
    a_view_outside_of_the_log_is_stale: ORDERING without views_in_log breaks CONVERGES;
    without_fencing_a_late_write_is_seen: TAKEOVER without fencing breaks FENCED, BACKWARDS;
    a_silent_coordinator_expires_the_healthy: STALL without silent_do_not_expire breaks HEALTHY;
    a_silent_coordinator_tells_absence_too_early: SILENCE without silent_do_not_settle breaks HEALTHY;
    without_a_grace_absence_is_told_too_early: CRASH without grace breaks HEALTHY;
    without_a_durable_number_an_old_session_comes_back: CRASH without durable_number breaks FENCED, BACKWARDS;
    without_a_final_goodbye_a_forgotten_session_stays: FORGOTTEN without final_goodbye breaks OVER;
    without_admission_a_call_comes_after_its_registration: LATE without admission breaks BACKWARDS, CONVERGES;
    without_coverage_a_stranger_is_told: STRANGERS without coverage breaks PARTNERS;
    without_coverage_absence_is_told_before_the_page: CRASH_PAGES without coverage breaks HEALTHY;
}

#[test]
fn a_goodbye_is_final_even_for_a_session_that_a_crash_forgot() {
    holds_at_least("FORGOTTEN", FORGOTTEN, &[CONVERGES, OVER, PARTNERS]);
}
