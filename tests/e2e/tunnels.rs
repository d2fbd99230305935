//! Tunnels: who learns of whom.

use anyhow::Result;
use tailnet_harness::{Stack, stack::Pair};
use tailnet_tools::message::{Kind, Request};
use tailnet_wire::Role;

on_one_proxy_and_on_two! {
    b01_tunnel_to_an_absent_agent,
    b05_node_bound_before_its_tunnel_opens,
    b06_tunnels_opened_from_both_ends,
    b07_closed_tunnel,
    b08_tunnel_closed_with_the_last_word,
}

async fn b01_tunnel_to_an_absent_agent(stack: &Stack) -> Result<()> {
    let (client, agent) = stack.create_pair().await?;
    let mut client = stack.left().connect(&client).await?;
    let client_node = client.announce(1).await?;
    client.send(Request::add_tunnel(agent.id)).await?;
    stack.operator.until_tunnel(client.id(), agent.id, true).await?;
    stack.assert_nothing_else(&[&client]).await?;

    let mut agent = stack.right().connect(&agent).await?;
    let agent_node = agent.announce(1).await?;
    client.expect_node(agent.id(), &agent_node).await;
    agent.expect_node(client.id(), &client_node).await;
    stack.assert_nothing_else(&[&client, &agent]).await
}

async fn b05_node_bound_before_its_tunnel_opens(stack: &Stack) -> Result<()> {
    let (client, agent) = stack.create_pair().await?;
    let (mut client, mut agent) = (stack.left().connect(&client).await?, stack.right().connect(&agent).await?);
    let (client_node, agent_node) = (client.announce(1).await?, agent.announce(1).await?);
    stack.operator.until_bound(client.id(), &client_node).await?;
    stack.operator.until_bound(agent.id(), &agent_node).await?;

    client.send(Request::add_tunnel(agent.id())).await?;
    agent.expect_node(client.id(), &client_node).await;
    client.expect_node(agent.id(), &agent_node).await;
    stack.assert_nothing_else(&[&client, &agent]).await
}

async fn b06_tunnels_opened_from_both_ends(stack: &Stack) -> Result<()> {
    let (one, two) = (stack.create(Role::Hub).await?, stack.create(Role::Hub).await?);
    let (mut one, mut two) = (stack.left().connect(&one).await?, stack.right().connect(&two).await?);
    let (node_of_one, node_of_two) = (one.announce(1).await?, two.announce(1).await?);
    one.send(Request::add_tunnel(two.id())).await?;
    two.send(Request::add_tunnel(one.id())).await?;
    stack.operator.until_tunnel(one.id(), two.id(), true).await?;
    stack.operator.until_tunnel(two.id(), one.id(), true).await?;
    one.expect_node(two.id(), &node_of_two).await;
    two.expect_node(one.id(), &node_of_one).await;
    stack.assert_nothing_else(&[&one, &two]).await?;

    one.send(Request::remove_tunnel(two.id())).await?;
    stack.operator.until_tunnel(one.id(), two.id(), false).await?;
    stack.assert_nothing_else(&[&one, &two]).await?;
    let (node_of_one, node_of_two) = (one.announce(2).await?, two.announce(2).await?);
    one.expect_node(two.id(), &node_of_two).await;
    two.expect_node(one.id(), &node_of_one).await;

    two.send(Request::remove_tunnel(one.id())).await?;
    one.expect_disconnected(two.id()).await;
    two.expect_disconnected(one.id()).await;
    stack.assert_nothing_else(&[&one, &two]).await
}

async fn b07_closed_tunnel(stack: &Stack) -> Result<()> {
    let Pair { mut client, mut agent } = stack.pair().await?;
    client.send(Request::remove_tunnel(agent.id())).await?;
    client.expect_disconnected(agent.id()).await;
    agent.expect_disconnected(client.id()).await;
    assert!(!stack.operator.has_tunnel(client.id(), agent.id()).await?);

    let (client_node, agent_node) = (client.announce(2).await?, agent.announce(2).await?);
    stack.operator.until_bound(client.id(), &client_node).await?;
    stack.operator.until_bound(agent.id(), &agent_node).await?;
    stack.assert_nothing_else(&[&client, &agent]).await?;

    // Opened again it is as if it had always been.
    client.send(Request::add_tunnel(agent.id())).await?;
    client.expect_node(agent.id(), &agent_node).await;
    agent.expect_node(client.id(), &client_node).await;
    stack.assert_nothing_else(&[&client, &agent]).await
}

async fn b08_tunnel_closed_with_the_last_word(stack: &Stack) -> Result<()> {
    for cut in [false, true] {
        let Pair { mut client, agent } = stack.pair().await?;
        let identity = client.identity().clone();
        client.send(Request::remove_tunnel(agent.id())).await?;
        if cut {
            client.cut().await?
        } else {
            client.close().await?
        }
        stack.operator.until_tunnel(identity.id, agent.id(), false).await?;
        stack.operator.until_gone(identity.id).await?;

        // Nothing brings it back, not even the peer itself.
        let mut client = stack.left().connect(&identity).await?;
        let node = client.announce(2).await?;
        stack.operator.until_bound(identity.id, &node).await?;
        stack.settle(&[&agent]).await?;
        agent.assert_ended_on(identity.id, Kind::Disconnected);
        stack.assert_nothing_else(&[&client, &agent]).await?;
    }
    Ok(())
}
