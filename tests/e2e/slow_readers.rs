//! B59: websockets that are not read.

use std::collections::HashMap;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tailnet_harness::{Stack, TestPeer, proxy::ProxyOption, stack::Setup};
use tailnet_tools::{
    message::{Kind, Message, Request},
    websocket::Credentials,
};
use tailnet_wire::Role;
use uuid::Uuid;

on_one_proxy_and_on_two!(b59_a_slow_reader_ends_on_the_newest_state);

tests_on! {
    one_proxy_that_pings_often: Setup::of(1).with(PING_OFTEN) => b59_a_dead_reader_is_closed;
    two_proxies_that_ping_often: Setup::of(2).with(PING_OFTEN) => b59_a_dead_reader_is_closed;
}

const PING_OFTEN: &[ProxyOption] = &[("--ping-interval", "500ms")];

const AGENTS: usize = 16;
const ROUNDS: u64 = 60;
const NODE_BYTES: usize = 50_000;

/// All that was announced is [`AGENTS`] · [`ROUNDS`] · [`NODE_BYTES`] = 48 MB; the newest of each, 0.8 MB.
const MAX_GROWTH_KIB: u64 = 20_000;

async fn b59_a_slow_reader_ends_on_the_newest_state(stack: &Stack) -> Result<()> {
    let hub = stack.create(Role::Hub).await?;
    let mut slow = stack.left().try_connect(&Credentials::header(&hub.token)).await?;
    let mut reader = stack.connect_left(Role::Hub).await?;
    let mut agents = Vec::new();
    for _ in 0..AGENTS {
        let agent = stack.connect_right(Role::Agent).await?;
        slow.send(&Request::add_tunnel(agent.id())).await?;
        reader.open_tunnel(agent.id()).await?;
        stack.operator.until_tunnel(hub.id, agent.id(), true).await?;
        agents.push(agent);
    }
    let node = |agent: &TestPeer, version| -> Value {
        let mut node = agent.identity().node(version);
        node["padding"] = json!("x".repeat(NODE_BYTES));
        node
    };
    // The first rounds fill the buffers of the socket and of the allocator.
    let mut before = 0;
    for version in 1..=ROUNDS {
        for agent in &mut agents {
            agent.send(Request::node(&node(agent, version))).await?;
        }
        for agent in &agents {
            reader.expect_node(agent.id(), &node(agent, version)).await;
        }
        if version == ROUNDS / 6 {
            before = stack.left().resident_kib()?;
        }
    }
    let grown = stack.left().resident_kib()?.saturating_sub(before);
    assert!(grown < MAX_GROWTH_KIB, "the proxy grew by {grown} KiB");

    let mut last: HashMap<Uuid, Value> = HashMap::new();
    let mut heard = 0;
    let newest =
        |last: &HashMap<Uuid, Value>| agents.iter().all(|a| last.get(&a.id()).is_some_and(|n| n["id"] == ROUNDS));
    while !newest(&last) {
        match slow.next().await {
            Message::Updates(updates) => {
                for update in updates {
                    assert_eq!(update.kind, Kind::Node);
                    last.insert(update.id, update.node.context("a NODE has a node")?);
                    heard += 1;
                }
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(
        heard < AGENTS * ROUNDS as usize / 2,
        "{heard} updates: updates that were not read in time are passed over"
    );
    Ok(())
}

async fn b59_a_dead_reader_is_closed(stack: &Stack) -> Result<()> {
    let (client, agent) = stack.create_pair().await?;
    let mut client = stack.left().connect(&client).await?;
    client.open_tunnel(agent.id).await?;
    // Never read: it answers no ping.
    let mut dead = stack.right().try_connect(&Credentials::header(&agent.token)).await?;
    dead.send(&Request::node(&agent.node(1))).await?;
    client.expect_node(agent.id, &agent.node(1)).await;
    client.expect_lost(agent.id).await;
    stack.operator.until_gone(agent.id).await?;
    stack.assert_nothing_else(&[&client]).await
}
