//! Bindings: what partners are told of a peer.

use anyhow::Result;
use serde_json::json;
use tailnet_harness::{LogTap, Stack, TestPeer, stack::Pair, statements::Statements};
use tailnet_tools::{identity::TestIdentity, message::Request};
use tailnet_wire::Role;

on_one_proxy_and_on_two! {
    b02_a_node_without_partners_is_stored_and_nobody_is_told,
    b03_returning_peer_sees_its_partner_at_once,
    b04_rapid_updates_end_on_the_last,
    b09_nobody_is_told_of_a_new_time_alone,
    b09_nobody_is_told_of_a_second_loss,
    b09_nobody_is_told_of_a_lost_peer_without_a_node,
    b10_graceful_disconnect,
    b11_any_other_end_is_a_loss,
}

pub async fn b02_a_node_without_partners_is_stored_and_nobody_is_told(stack: &Stack) -> Result<()> {
    let bystander = stack.connect_left(Role::Client).await?;
    let mut agent = stack.connect_right(Role::Agent).await?;
    stack.bind(&mut agent, 1).await?;
    // Not earlier: each session began with a view, and the proxies are told of a marker.
    stack.settle(&[&bystander]).await?;
    let mut tap = LogTap::open(stack).await?;

    stack.bind(&mut agent, 2).await?;
    assert_eq!(stack.operator.coordinator(agent.id()).await?.as_deref(), Some(stack.right().name()));
    let payloads: usize = tap.take().await?.iter().map(|heard| heard.payloads).sum();
    assert_eq!(payloads, 0, "no coordinator was told");
    stack.assert_nothing_else(&[&bystander]).await
}

pub async fn b03_returning_peer_sees_its_partner_at_once(stack: &Stack) -> Result<()> {
    let Pair { client, agent } = stack.pair().await?;
    let identity = agent.identity().clone();
    agent.cut().await?;
    client.expect_lost(identity.id).await;

    // It sees the partner before it announces anything.
    let agent = stack.right().reconnect(&identity, 2, &client).await?;
    stack.assert_nothing_else(&[&client, &agent]).await
}

pub async fn b04_rapid_updates_end_on_the_last(stack: &Stack) -> Result<()> {
    let Pair { client, mut agent } = stack.pair().await?;
    for version in 2..=24 {
        agent.announce(version).await?;
    }
    client.expect_node_of(&agent).await;
    stack.operator.until_bound(agent.id(), &agent.identity().node(24)).await?;
    stack.assert_nothing_else(&[&client, &agent]).await
}

pub async fn b09_nobody_is_told_of_a_new_time_alone(stack: &Stack) -> Result<()> {
    let Pair { client, mut agent } = stack.pair().await?;
    let before = Statements::count(stack).await?;
    let mut node = agent.identity().node(1);
    node["as_of"] = json!("2027-01-01T00:00:00Z");
    agent.send(Request::node(&node)).await?;
    before.until_called(stack, stack.right(), "bind_peers").await?;
    stack.assert_nothing_else(&[&client, &agent]).await
}

pub async fn b09_nobody_is_told_of_a_second_loss(stack: &Stack) -> Result<()> {
    let Pair { client, agent } = stack.pair().await?;
    let identity = agent.identity().clone();
    agent.cut().await?;
    client.expect_lost(identity.id).await;

    come_and_go_unnoticed(stack, &identity, &client).await
}

pub async fn b09_nobody_is_told_of_a_lost_peer_without_a_node(stack: &Stack) -> Result<()> {
    let (client, agent) = stack.create_pair().await?;
    let mut client = stack.left().connect(&client).await?;
    client.announce_with(1, Request::add_tunnel(agent.id)).await?;
    stack.operator.until_tunnel(client.id(), agent.id, true).await?;

    come_and_go_unnoticed(stack, &agent, &client).await
}

/// An agent connects and is lost, without a node. Its partner is not told.
async fn come_and_go_unnoticed(stack: &Stack, agent: &TestIdentity, partner: &TestPeer) -> Result<()> {
    let connected = stack.right().connect(agent).await?;
    connected.expect_node_of(partner).await;
    connected.cut().await?;
    stack.operator.until_gone(agent.id).await?;
    stack.assert_nothing_else(&[partner]).await
}

pub async fn b10_graceful_disconnect(stack: &Stack) -> Result<()> {
    let leaver = stack.create(Role::Hub).await?;
    let mut agent = stack.connect_right(Role::Agent).await?;
    let mut watcher = stack.connect_right(Role::Hub).await?;
    let mut connected = stack.left().connect(&leaver).await?;
    for peer in [&mut agent, &mut watcher, &mut connected] {
        peer.announce(1).await?;
    }
    connected.open_tunnel(agent.id()).await?;
    watcher.open_tunnel(leaver.id).await?;
    connected.expect_each_other(&agent).await;
    connected.expect_each_other(&watcher).await;

    connected.disconnect().await?;
    agent.expect_disconnected(leaver.id).await;
    watcher.expect_disconnected(leaver.id).await;
    assert_eq!(stack.operator.binding(leaver.id).await?, None);
    assert!(!stack.operator.has_tunnel(leaver.id, agent.id()).await?, "its own tunnel is deleted");
    assert!(stack.operator.has_tunnel(watcher.id(), leaver.id).await?, "a tunnel to it stays");

    let connected = stack.left().reconnect(&leaver, 2, &watcher).await?;
    stack.assert_nothing_else(&[&connected, &agent, &watcher]).await
}

pub async fn b11_any_other_end_is_a_loss(stack: &Stack) -> Result<()> {
    for cut in [false, true] {
        let Pair { client, agent } = stack.pair().await?;
        let identity = agent.identity().clone();
        agent.end(cut).await?;
        client.expect_lost(identity.id).await;
        assert!(stack.operator.has_tunnel(client.id(), identity.id).await?);
        let (status, _) = stack.operator.binding(identity.id).await?.expect("the binding stays");
        assert_eq!(status, "lost");

        // It announces the same node as before, and partners are told again.
        let agent = stack.right().reconnect(&identity, 1, &client).await?;

        // The other way round: the peer that opened the tunnel is lost.
        let opener = client.identity().clone();
        client.end(cut).await?;
        agent.expect_lost(opener.id).await;
        assert!(stack.operator.has_tunnel(opener.id, identity.id).await?);
        let client = stack.left().reconnect(&opener, 1, &agent).await?;
        stack.assert_nothing_else(&[&client, &agent]).await?;
    }
    Ok(())
}
