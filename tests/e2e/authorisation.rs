//! Authorisation: what each role may announce, open and say.

use anyhow::Result;
use serde_json::{Value, json};
use tailnet_harness::{
    Stack,
    stack::{NETWORK, Pair},
};
use tailnet_tools::{identity::TestIdentity, message::Request};
use tailnet_wire::{Role, fields::own_addresses};
use uuid::Uuid;

on_one_proxy_and_on_two! {
    b40_agent_opens_no_tunnels,
    b40_agent_announces_its_own_addresses_only,
    b41_client_reaches_granted_agents_only,
    b41_client_reaches_all_agents_where_the_network_allows_it,
    b41_client_announces_single_addresses_only,
    b41_client_is_never_ready_for_handshake,
    b42_hub_reaches_every_peer_of_its_network,
    b44_refused_request_ends_the_session,
}

async fn b40_agent_opens_no_tunnels(stack: &Stack) -> Result<()> {
    for role in [Role::Agent, Role::Client, Role::Hub] {
        let other = stack.connect_left(role).await?;
        let mut agent = stack.connect_right(Role::Agent).await?;
        agent.open_tunnel(other.id()).await?;
        agent.expect_refusal(&[&other.id().to_string(), "agent opens no tunnels"], 1008).await;
        stack.assert_nothing_else(&[&other]).await?;
    }
    Ok(())
}

async fn b40_agent_announces_its_own_addresses_only(stack: &Stack) -> Result<()> {
    let (client, identity) = stack.create_pair().await?;
    let mut client = stack.left().connect(&client).await?;
    client.open_tunnel(identity.id).await?;
    let own = own_addresses(identity.id).map(|address| format!("{address}/128"));
    let mut agent = stack.right().connect(&identity).await?;
    let node = node_with(&identity, json!(own), json!(own));
    agent.send(Request::node(&node)).await?;
    client.expect_node(identity.id, &node).await;

    let foreign = own_addresses(Uuid::new_v4()).map(|address| format!("{address}/128"));
    let [short, bare] = [own[0].replace("/128", "/64"), own[0].replace("/128", "")];
    for entry in [foreign[0].as_str(), &foreign[1], &short, &bare, "::/0", "100.64.0.1/32", "nonsense", ""] {
        for field in ["addresses", "allowed_ips"] {
            let mut node = node.clone();
            node[field] = json!([own[0], entry]);
            agent.send(Request::node(&node)).await?;
            agent.expect_refusal(&[field, &format!("{entry:?}"), &own[0], &own[1]], 1008).await;
            client.expect_lost(identity.id).await;

            agent = stack.right().connect(&identity).await?;
            agent.announce_to(1, &[&client]).await?;
        }
    }
    stack.assert_nothing_else(&[&client, &agent]).await
}

async fn b41_client_reaches_granted_agents_only(stack: &Stack) -> Result<()> {
    let Pair { mut client, agent } = stack.pair().await?;
    let identity = client.identity().clone();
    let mut other = stack.connect_right(Role::Agent).await?;
    other.announce(1).await?;
    let others = [(other.id(), "an agent without a grant"), (stack.create(Role::Client).await?.id, "a client")];
    let others = others.into_iter().chain([(stack.create(Role::Hub).await?.id, "a hub"), (identity.id, "itself")]);
    for (id, what) in others {
        client.open_tunnel(id).await?;
        client.expect_refusal(&[&id.to_string(), "granted"], 1008).await;
        agent.expect_lost(identity.id).await;
        assert!(!stack.operator.has_tunnel(identity.id, id).await?, "{what}");

        client = stack.left().reconnect(&identity, 1, &agent).await?;
    }
    stack.assert_nothing_else(&[&client, &agent, &other]).await?;

    stack.operator.grant_tunnel(identity.id, other.id()).await?;
    client.open_tunnel(other.id()).await?;
    client.expect_each_other(&other).await;

    // A grant that is taken back takes its tunnel with it, and no other.
    stack.operator.revoke_tunnel(identity.id, other.id()).await?;
    other.expect_disconnected(identity.id).await;
    client.expect_disconnected(other.id()).await;
    stack.assert_nothing_else(&[&client, &agent, &other]).await
}

async fn b41_client_reaches_all_agents_where_the_network_allows_it(stack: &Stack) -> Result<()> {
    stack.operator.let_clients_reach_all_agents(NETWORK).await?;
    let mut agent = stack.connect_right(Role::Agent).await?;
    let mut client = stack.connect_left(Role::Client).await?;
    agent.announce(1).await?;
    client.announce_with(1, Request::add_tunnel(agent.id())).await?;
    client.expect_each_other(&agent).await;

    // To all agents, and to nobody else.
    let hub = stack.create(Role::Hub).await?;
    client.open_tunnel(hub.id).await?;
    client.expect_refusal(&[&hub.id.to_string()], 1008).await;
    agent.expect_lost(client.id()).await;
    stack.assert_nothing_else(&[&agent]).await
}

async fn b41_client_announces_single_addresses_only(stack: &Stack) -> Result<()> {
    let Pair { mut client, agent } = stack.pair().await?;
    let identity = client.identity().clone();
    let any = json!(["fd7a::17/128", "2001:db8::1/128"]);
    let node = node_with(&identity, any.clone(), any);
    client.send(Request::node(&node)).await?;
    agent.expect_node(identity.id, &node).await;
    for entry in ["fd7a::/64", "::/0", "10.0.0.1/32", "fd7a::17"] {
        for field in ["addresses", "allowed_ips"] {
            let mut node = node.clone();
            node[field] = json!([entry]);
            client.send(Request::node(&node)).await?;
            client.expect_refusal(&[field, &format!("{entry:?}"), "an IPv6 /128"], 1008).await;
            agent.expect_lost(identity.id).await;

            client = stack.left().reconnect(&identity, 1, &agent).await?;
        }
    }
    Ok(())
}

async fn b41_client_is_never_ready_for_handshake(stack: &Stack) -> Result<()> {
    let Pair { mut client, agent } = stack.pair().await?;
    client.send(Request::ready_for_handshake(&[agent.id()])).await?;
    client.expect_refusal(&["ready_for_handshake", "client"], 1008).await;
    agent.expect_lost(client.id()).await;
    stack.assert_nothing_else(&[&agent]).await
}

async fn b42_hub_reaches_every_peer_of_its_network(stack: &Stack) -> Result<()> {
    let mut hub = stack.connect_left(Role::Hub).await?;
    let any = json!(["10.0.0.0/8", "fd7a::/16", "0.0.0.0/0", "fd7a::1/128"]);
    let hub_node = node_with(hub.identity(), any.clone(), any);
    hub.send(Request::node(&hub_node)).await?;
    let mut peers = Vec::new();
    for role in [Role::Agent, Role::Client, Role::Hub] {
        let mut peer = stack.connect_right(role).await?;
        peer.announce(1).await?;
        hub.open_tunnel(peer.id()).await?;
        hub.expect_node_of(&peer).await;
        peer.expect_node(hub.id(), &hub_node).await;
        peers.push(peer);
    }
    stack.assert_nothing_else(&[&hub, &peers[0], &peers[1], &peers[2]]).await?;

    let not_a_prefix = node_with(hub.identity(), json!([]), json!(["10.0.0.0/33"]));
    hub.send(Request::node(&not_a_prefix)).await?;
    hub.expect_refusal(&["allowed_ips", "10.0.0.0/33", "an IP prefix"], 1008).await;
    Ok(())
}

async fn b44_refused_request_ends_the_session(stack: &Stack) -> Result<()> {
    let Pair { client, mut agent } = stack.pair().await?;
    agent.open_tunnel(client.id()).await?;
    agent.expect_refusal(&["refused"], 1008).await;
    client.expect_lost(agent.id()).await;
    assert!(stack.operator.has_tunnel(client.id(), agent.id()).await?, "it is lost, not gone");

    // It may come back and do better.
    let agent = stack.right().reconnect(agent.identity(), 2, &client).await?;
    stack.assert_nothing_else(&[&client, &agent]).await
}

fn node_with(identity: &TestIdentity, addresses: Value, allowed_ips: Value) -> Value {
    let mut node = identity.node(7);
    node["addresses"] = addresses;
    node["allowed_ips"] = allowed_ips;
    node
}
