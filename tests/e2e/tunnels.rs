//! Tunnels: which peers learn of each other.

use anyhow::Result;
use tailnet_harness::{Stack, stack::Pair};
use tailnet_tools::message::{Kind, Request};
use tailnet_wire::Role;

on_one_proxy_and_on_two! {
    b01_tunnel_to_an_absent_agent,
    b05_node_bound_before_its_tunnel_opens,
    b06_tunnels_opened_from_both_ends,
    b07_closed_tunnel,
    b08_peer_closes_a_tunnel_and_ends_at_once,
}

pub async fn b01_tunnel_to_an_absent_agent(stack: &Stack) -> Result<()> {
    let (client, agent) = stack.create_pair().await?;
    let mut client = stack.left().connect(&client).await?;
    client.announce_with(1, Request::add_tunnel(agent.id)).await?;
    stack.operator.until_tunnel(client.id(), agent.id, true).await?;
    stack.assert_nothing_else(&[&client]).await?;

    let mut agent = stack.right().connect(&agent).await?;
    agent.announce(1).await?;
    client.expect_each_other(&agent).await;
    stack.assert_nothing_else(&[&client, &agent]).await
}

pub async fn b05_node_bound_before_its_tunnel_opens(stack: &Stack) -> Result<()> {
    let (client, agent) = stack.create_pair().await?;
    let (mut client, mut agent) = (stack.left().connect(&client).await?, stack.right().connect(&agent).await?);
    for peer in [&mut client, &mut agent] {
        stack.bind(peer, 1).await?;
    }
    client.open_tunnel(agent.id()).await?;
    client.expect_each_other(&agent).await;
    stack.assert_nothing_else(&[&client, &agent]).await
}

pub async fn b06_tunnels_opened_from_both_ends(stack: &Stack) -> Result<()> {
    let (mut one, mut two) = (stack.connect_left(Role::Hub).await?, stack.connect_right(Role::Hub).await?);
    one.announce(1).await?;
    two.announce(1).await?;
    one.open_tunnel(two.id()).await?;
    two.open_tunnel(one.id()).await?;
    stack.operator.until_tunnel(one.id(), two.id(), true).await?;
    stack.operator.until_tunnel(two.id(), one.id(), true).await?;
    one.expect_each_other(&two).await;
    stack.assert_nothing_else(&[&one, &two]).await?;

    one.close_tunnel(two.id()).await?;
    stack.operator.until_tunnel(one.id(), two.id(), false).await?;
    stack.assert_nothing_else(&[&one, &two]).await?;
    one.announce(2).await?;
    two.announce(2).await?;
    one.expect_each_other(&two).await;

    two.close_tunnel(one.id()).await?;
    one.expect_disconnected(two.id()).await;
    two.expect_disconnected(one.id()).await;
    stack.assert_nothing_else(&[&one, &two]).await
}

pub async fn b07_closed_tunnel(stack: &Stack) -> Result<()> {
    let Pair { mut client, mut agent } = stack.pair().await?;
    client.close_tunnel(agent.id()).await?;
    client.expect_disconnected(agent.id()).await;
    agent.expect_disconnected(client.id()).await;
    assert!(!stack.operator.has_tunnel(client.id(), agent.id()).await?);
    for peer in [&mut client, &mut agent] {
        stack.bind(peer, 2).await?;
    }
    stack.assert_nothing_else(&[&client, &agent]).await?;

    // Opened again it is as if it had always been.
    client.open_tunnel(agent.id()).await?;
    client.expect_each_other(&agent).await;
    stack.assert_nothing_else(&[&client, &agent]).await
}

pub async fn b08_peer_closes_a_tunnel_and_ends_at_once(stack: &Stack) -> Result<()> {
    for cut in [false, true] {
        let Pair { mut client, agent } = stack.pair().await?;
        let identity = client.identity().clone();
        client.close_tunnel(agent.id()).await?;
        client.end(cut).await?;
        stack.operator.until_tunnel(identity.id, agent.id(), false).await?;
        stack.operator.until_gone(identity.id).await?;

        // Nothing brings it back, not even the peer itself.
        let mut client = stack.left().connect(&identity).await?;
        stack.bind(&mut client, 2).await?;
        stack.settle(&[&agent]).await?;
        agent.assert_ended_on(identity.id, Kind::Disconnected);
        stack.assert_nothing_else(&[&client, &agent]).await?;
    }
    Ok(())
}
