//! The numbered behaviours of a coordinator, on real proxies and a real Postgres.
//!
//! `bNN_…` is behaviour NN of `docs/protocol.md`. Those about two peers run twice: with both on one proxy, and on two.

/// Makes a test of each function, in a module that names what it runs on.
macro_rules! tests_on {
    ($($name:ident: $setup:expr => $($test:ident),+ $(,)?;)+) => {$(
        mod $name {
            #[allow(unused_imports, reason = "what the setup is made of")]
            use super::*;

            $(#[tokio::test] async fn $test() { tailnet_harness::run_with($setup, super::$test).await; })+
        }
    )+};
}

/// Makes a test of each function, on one proxy and on two.
macro_rules! on_one_proxy_and_on_two {
    ($($test:ident),+ $(,)?) => {
        tests_on! {
            one_proxy: tailnet_harness::stack::Setup::of(1) => $($test),+;
            two_proxies: tailnet_harness::stack::Setup::of(2) => $($test),+;
        }
    };
}

mod agents;
mod authorisation;
mod authorities;
mod bindings;
mod connection_events;
mod coordinators;
mod cost;
mod deletions;
mod enrolments;
mod flushes;
mod frames;
mod handshakes;
mod harness;
mod hubs;
mod keys;
mod networks;
mod orders;
mod plans;
mod policies;
mod real_peers;
mod reports;
mod restarts;
mod roles;
mod scaletest;
mod sessions;
mod slow_readers;
mod tokens;
mod traces;
mod tunnels;
mod v2;
