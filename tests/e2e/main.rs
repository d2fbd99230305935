//! The numbered behaviours of a coordinator, on real proxies and a real Postgres.
//!
//! `bNN_…` is behaviour NN of `docs/protocol.md`. Those about two peers run twice: with both on one proxy, and on two.

/// Makes a test of each function, on one proxy and on two.
macro_rules! on_one_proxy_and_on_two {
    ($($test:ident),+ $(,)?) => { on_one_proxy_and_on_two! { with &[]; $($test),+ } };
    (with $options:expr; $($test:ident),+ $(,)?) => {
        mod one_proxy {
            $(#[tokio::test] async fn $test() { crate::run_with_options(1, $options, super::$test).await; })+
        }
        mod two_proxies {
            $(#[tokio::test] async fn $test() { crate::run_with_options(2, $options, super::$test).await; })+
        }
    };
}

mod agents;
mod authorisation;
mod authorities;
mod bindings;
mod coordinators;
mod cost;
mod frames;
mod handshakes;
mod harness;
mod hubs;
mod networks;
mod orders;
mod plans;
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

use tailnet_harness::{Stack, proxy::ProxyOption, run_with, stack::Setup};

/// Runs a test on so many proxies that have these options.
async fn run_with_options(
    proxies: usize,
    options: &[ProxyOption<'_>],
    test: impl AsyncFnOnce(&Stack) -> anyhow::Result<()>,
) {
    run_with(Setup { proxies, options, ..Setup::default() }, test).await;
}
