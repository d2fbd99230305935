//! The harness itself: the other tests rely on this.

use anyhow::Result;
use tailnet_harness::{Stack, stack::Pair};
use tailnet_tools::message::Kind;

on_one_proxy_and_on_two! {
    marker_passes_after_all_that_was_committed_before_it,
}

async fn marker_passes_after_all_that_was_committed_before_it(stack: &Stack) -> Result<()> {
    let Pair { client, mut agent } = stack.pair().await?;
    for version in 2..20 {
        stack.bind(&mut agent, version).await?;
        stack.settle(&[&client]).await?;
        // The test does not wait for it: it has arrived already.
        assert_eq!(client.count(agent.id(), Kind::Node), usize::try_from(version)?);
    }
    Ok(())
}
