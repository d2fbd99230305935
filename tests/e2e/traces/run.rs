//! Tests of proxies that send their traces somewhere.

use anyhow::Result;
use tailnet_harness::{Proxy, Stack, TestPeer, run_with, stack::Setup};

use super::collector::Collector;

/// Makes a test of each function, on one proxy with these options and a collector.
macro_rules! traced {
    ($($options:expr => $($test:ident),+;)+) => {
        mod traced {
            $($(#[tokio::test] async fn $test() { super::super::run::run_collected($options, super::$test).await; })+)+
        }
    };
}
pub(super) use traced;

/// What the proxies write to their logs.
pub const LOG: (&str, &str) = ("--log", "info,tailnet_proxy=debug");

/// Runs a test on one proxy that sends its traces to a collector.
pub async fn run_collected(more: &[(&str, &str)], test: impl AsyncFnOnce(&Stack, &Collector) -> Result<()>) {
    let collector = Collector::start().await.expect("a collector starts");
    run_traced(&collector.url(), more, async |stack: &Stack| test(stack, &collector).await).await;
}

/// Runs a test on one proxy that sends its traces there.
pub async fn run_traced(endpoint: &str, more: &[(&str, &str)], test: impl AsyncFnOnce(&Stack) -> Result<()>) {
    let options = [&[("--otlp-endpoint", endpoint), LOG], more].concat();
    run_with(Setup::of(1).with(&options), test).await;
}

/// Ends the proxy in good order: all that it has to send was sent then.
pub async fn terminate(proxy: &Proxy) -> Result<()> {
    proxy.terminate().await
}

/// A peer announces a node, and says goodbye.
pub async fn served(stack: &Stack, mut peer: TestPeer) -> Result<()> {
    stack.bind(&mut peer, 1).await?;
    peer.disconnect().await
}

/// The lines of a log that have a text.
pub fn lines<'a>(log: &'a str, text: &str) -> Vec<&'a str> {
    log.lines().filter(|line| line.contains(text)).collect()
}
