//! One test from beginning to end.

use std::panic::{AssertUnwindSafe, resume_unwind};

use anyhow::Result;
use futures_util::FutureExt;

use crate::stack::{Setup, Stack};

/// Starts a stack, runs the test on it, and cleans up whatever the outcome. If it failed, shows what the proxies wrote.
pub async fn run(proxies: usize, test: impl AsyncFnOnce(&Stack) -> Result<()>) {
    run_with(Setup::of(proxies), test).await;
}

/// Runs a test on any setup.
pub async fn run_with(setup: Setup<'_>, test: impl AsyncFnOnce(&Stack) -> Result<()>) {
    let stack = Stack::start(setup).await.unwrap_or_else(|error| panic!("the stack did not start: {error:?}"));
    let outcome = AssertUnwindSafe(test(&stack)).catch_unwind().await;
    if !matches!(outcome, Ok(Ok(()))) {
        eprintln!("{}", stack.logs());
    }
    let stopped = stack.stop().await;
    match outcome {
        Err(panic) => resume_unwind(panic),
        Ok(Err(error)) => panic!("{error:?}"),
        Ok(Ok(())) => stopped.unwrap_or_else(|error| panic!("{error:?}")),
    }
}
