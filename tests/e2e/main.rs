//! The numbered behaviours of a coordinator, on real proxies and a real Postgres.
//!
//! `bNN_…` is behaviour NN of `docs/protocol.md`. Those about two peers run twice: with both on one proxy, and on two.

/// Makes a test of each function, on one proxy and on two.
macro_rules! on_one_proxy_and_on_two {
    ($($test:ident),+ $(,)?) => {
        mod one_proxy {
            $(#[tokio::test] async fn $test() { tailnet_tests::harness::run(1, super::$test).await; })+
        }
        mod two_proxies {
            $(#[tokio::test] async fn $test() { tailnet_tests::harness::run(2, super::$test).await; })+
        }
    };
}

mod authorisation;
mod bindings;
mod cost;
mod frames;
mod handshakes;
mod harness;
mod hubs;
mod networks;
mod plans;
mod real_peers;
mod roles;
mod sessions;
mod tokens;
mod tunnels;
