//! Bindings: what partners are told of a peer.

use anyhow::Result;
use serde_json::json;
use tailnet_harness::{LogTap, Stack, stack::Pair, statements::Statements};
use tailnet_tools::message::Request;
use tailnet_wire::Role;

on_one_proxy_and_on_two! {
    b02_lone_bind_is_stored_and_nobody_is_told,
    b03_returning_peer_sees_its_partner_at_once,
    b04_rapid_updates_end_on_the_last,
    b09_node_that_differs_in_as_of_only,
    b09_lost_peer_that_is_lost_again,
    b09_lost_peer_that_never_announced_a_node,
    b10_graceful_disconnect,
    b11_any_other_end_is_a_loss,
}

async fn b02_lone_bind_is_stored_and_nobody_is_told(stack: &Stack) -> Result<()> {
    let bystander = stack.left().connect(&stack.create(Role::Client).await?).await?;
    let mut agent = stack.right().connect(&stack.create(Role::Agent).await?).await?;
    agent.announce(1).await?;
    stack.operator.until_bound(agent.id(), &agent.identity().node(1)).await?;
    // Not before now: the sessions began with a view each, and a marker is told to whom it passes.
    stack.settle(&[&bystander]).await?;
    let mut tap = LogTap::open(stack, &stack.proxies().iter().collect::<Vec<_>>()).await?;

    let node = agent.announce(2).await?;
    stack.operator.until_bound(agent.id(), &node).await?;
    assert_eq!(stack.operator.coordinator(agent.id()).await?.as_deref(), Some(stack.right().name()));
    let payloads: usize = tap.take().await?.iter().map(|heard| heard.payloads).sum();
    assert_eq!(payloads, 0, "no coordinator was told");
    stack.assert_nothing_else(&[&bystander]).await
}

async fn b03_returning_peer_sees_its_partner_at_once(stack: &Stack) -> Result<()> {
    let Pair { client, agent } = stack.pair().await?;
    let identity = agent.identity().clone();
    agent.cut().await?;
    client.expect_lost(identity.id).await;

    // It has not said a word yet.
    let mut agent = stack.right().connect(&identity).await?;
    agent.expect_node(client.id(), &client.identity().node(1)).await;
    let node = agent.announce(2).await?;
    client.expect_node(agent.id(), &node).await;
    stack.assert_nothing_else(&[&client, &agent]).await
}

async fn b04_rapid_updates_end_on_the_last(stack: &Stack) -> Result<()> {
    let Pair { client, mut agent } = stack.pair().await?;
    for version in 2..=24 {
        agent.announce(version).await?;
    }
    let last = agent.identity().node(24);
    client.expect_node(agent.id(), &last).await;
    stack.operator.until_bound(agent.id(), &last).await?;
    stack.assert_nothing_else(&[&client, &agent]).await
}

async fn b09_node_that_differs_in_as_of_only(stack: &Stack) -> Result<()> {
    let Pair { client, mut agent } = stack.pair().await?;
    let before = Statements::count(stack).await?;
    let mut node = agent.identity().node(1);
    node["as_of"] = json!("2027-01-01T00:00:00Z");
    agent.send(Request::node(&node)).await?;
    before.until_called(stack, stack.right(), "bind_peers").await?;
    stack.assert_nothing_else(&[&client, &agent]).await
}

async fn b09_lost_peer_that_is_lost_again(stack: &Stack) -> Result<()> {
    let Pair { client, agent } = stack.pair().await?;
    let identity = agent.identity().clone();
    agent.cut().await?;
    client.expect_lost(identity.id).await;

    let agent = stack.right().connect(&identity).await?;
    agent.expect_node(client.id(), &client.identity().node(1)).await;
    agent.cut().await?;
    stack.operator.until_gone(identity.id).await?;
    stack.assert_nothing_else(&[&client]).await
}

async fn b09_lost_peer_that_never_announced_a_node(stack: &Stack) -> Result<()> {
    let (client, agent) = stack.create_pair().await?;
    let mut client = stack.left().connect(&client).await?;
    let node = client.announce(1).await?;
    client.send(Request::add_tunnel(agent.id)).await?;
    stack.operator.until_tunnel(client.id(), agent.id, true).await?;

    let connected = stack.right().connect(&agent).await?;
    connected.expect_node(client.id(), &node).await;
    connected.cut().await?;
    stack.operator.until_gone(agent.id).await?;
    stack.assert_nothing_else(&[&client]).await
}

async fn b10_graceful_disconnect(stack: &Stack) -> Result<()> {
    let (leaver, watcher) = (stack.create(Role::Hub).await?, stack.create(Role::Hub).await?);
    let mut agent = stack.right().connect(&stack.create(Role::Agent).await?).await?;
    let mut watcher = stack.right().connect(&watcher).await?;
    let mut connected = stack.left().connect(&leaver).await?;
    let (agent_node, watcher_node) = (agent.announce(1).await?, watcher.announce(1).await?);
    let node = connected.announce(1).await?;
    connected.send(Request::add_tunnel(agent.id())).await?;
    watcher.send(Request::add_tunnel(leaver.id)).await?;
    for (partner, partner_node) in [(&agent, &agent_node), (&watcher, &watcher_node)] {
        partner.expect_node(leaver.id, &node).await;
        connected.expect_node(partner.id(), partner_node).await;
    }

    connected.disconnect().await?;
    agent.expect_disconnected(leaver.id).await;
    watcher.expect_disconnected(leaver.id).await;
    assert_eq!(stack.operator.binding(leaver.id).await?, None);
    assert!(!stack.operator.has_tunnel(leaver.id, agent.id()).await?, "its own tunnel is deleted");
    assert!(stack.operator.has_tunnel(watcher.id(), leaver.id).await?, "a tunnel to it stays");

    let mut connected = stack.left().connect(&leaver).await?;
    connected.expect_node(watcher.id(), &watcher_node).await;
    let node = connected.announce(2).await?;
    watcher.expect_node(leaver.id, &node).await;
    stack.assert_nothing_else(&[&connected, &agent, &watcher]).await
}

async fn b11_any_other_end_is_a_loss(stack: &Stack) -> Result<()> {
    for cut in [false, true] {
        let Pair { client, agent } = stack.pair().await?;
        let identity = agent.identity().clone();
        if cut {
            agent.cut().await?
        } else {
            agent.close().await?
        }
        client.expect_lost(identity.id).await;
        assert!(stack.operator.has_tunnel(client.id(), identity.id).await?);
        let (status, _) = stack.operator.binding(identity.id).await?.expect("the binding stays");
        assert_eq!(status, "lost");

        // With the very node that it had: it is news again.
        let mut agent = stack.right().connect(&identity).await?;
        let node = agent.announce(1).await?;
        client.expect_node(identity.id, &node).await;
        agent.expect_node(client.id(), &client.identity().node(1)).await;

        // The other way round: the peer that opened the tunnel is lost.
        let opener = client.identity().clone();
        if cut {
            client.cut().await?
        } else {
            client.close().await?
        }
        agent.expect_lost(opener.id).await;
        assert!(stack.operator.has_tunnel(opener.id, identity.id).await?);
        let mut client = stack.left().connect(&opener).await?;
        let opener_node = client.announce(1).await?;
        agent.expect_node(opener.id, &opener_node).await;
        client.expect_node(identity.id, &node).await;
        stack.assert_nothing_else(&[&client, &agent]).await?;
    }
    Ok(())
}
