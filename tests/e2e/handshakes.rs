//! Handshakes: a peer says that it is ready for one.

use anyhow::Result;
use tailnet_harness::{Stack, stack::Pair};
use tailnet_tools::message::Request;
use tailnet_wire::Role;
use uuid::Uuid;

on_one_proxy_and_on_two! {
    b30_ready_for_handshake,
    b31_ready_for_a_handshake_with_a_stranger,
}

pub async fn b30_ready_for_handshake(stack: &Stack) -> Result<()> {
    let Pair { client, mut agent } = stack.pair().await?;
    // It may be said again.
    for _ in 0..2 {
        agent.send(Request::ready_for_handshake(&[client.id()])).await?;
        client.expect_ready(agent.id()).await;
    }
    stack.assert_nothing_else(&[&client, &agent]).await
}

async fn b31_ready_for_a_handshake_with_a_stranger(stack: &Stack) -> Result<()> {
    let Pair { client, mut agent } = stack.pair().await?;
    let without_tunnel = stack.connect_left(Role::Client).await?;
    for stranger in [without_tunnel.id(), Uuid::new_v4()] {
        agent.send(Request::ready_for_handshake(&[stranger, client.id()])).await?;
        client.expect_ready(agent.id()).await;
        agent.expect_error(&[&stranger.to_string()]).await;
    }
    stack.assert_nothing_else(&[&client, &agent, &without_tunnel]).await
}
