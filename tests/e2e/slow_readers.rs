//! B59: websockets that are not read.

use std::collections::HashMap;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tailnet_harness::{Stack, TestPeer, proxy::ProxyOption};
use tailnet_tools::{
    message::{Kind, Message, Request},
    websocket::Credentials,
};
use tailnet_wire::Role;
use uuid::Uuid;

on_one_proxy_and_on_two!(b59_a_slow_reader_ends_on_the_newest_state);

mod dead {
    use super::b59_a_dead_reader_is_closed;

    on_one_proxy_and_on_two!(with super::super::PING_OFTEN; b59_a_dead_reader_is_closed);
}

const PING_OFTEN: &[ProxyOption] = &[("--ping-interval", "500ms")];

const AGENTS: usize = 16;
const ROUNDS: u64 = 60;
const NODE_BYTES: usize = 50_000;

/// All that was announced is [`AGENTS`] · [`ROUNDS`] · [`NODE_BYTES`] = 48 MB; the newest of each, 0.8 MB.
const MAX_GROWTH_KB: u64 = 20_000;

async fn b59_a_slow_reader_ends_on_the_newest_state(stack: &Stack) -> Result<()> {
    let hub = stack.create(Role::Hub).await?;
    let mut deaf = stack.left().try_connect(&Credentials::header(&hub.token)).await?;
    let mut reader = stack.left().connect(&stack.create(Role::Hub).await?).await?;
    let mut agents = Vec::new();
    for _ in 0..AGENTS {
        let agent = stack.right().connect(&stack.create(Role::Agent).await?).await?;
        deaf.send(&Request::add_tunnel(agent.id())).await?;
        reader.send(Request::add_tunnel(agent.id())).await?;
        stack.operator.until_tunnel(hub.id, agent.id(), true).await?;
        agents.push(agent);
    }
    let node = |agent: &TestPeer, version| -> Value {
        let mut node = agent.identity().node(version);
        node["padding"] = json!("x".repeat(NODE_BYTES));
        node
    };
    // The first rounds fill what a socket takes, and what the allocator keeps.
    let mut before = 0;
    for version in 1..=ROUNDS {
        for agent in &mut agents {
            agent.send(Request::node(&node(agent, version))).await?;
        }
        for agent in &agents {
            reader.expect_node(agent.id(), &node(agent, version)).await;
        }
        if version == ROUNDS / 6 {
            before = resident_kb(stack)?;
        }
    }
    let grown = resident_kb(stack)?.saturating_sub(before);
    assert!(grown < MAX_GROWTH_KB, "the proxy grew by {grown} KB");

    let mut last: HashMap<Uuid, Value> = HashMap::new();
    let mut heard = 0;
    let newest =
        |last: &HashMap<Uuid, Value>| agents.iter().all(|a| last.get(&a.id()).is_some_and(|n| n["id"] == ROUNDS));
    while !newest(&last) {
        match deaf.next().await {
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
    assert!(heard < AGENTS * ROUNDS as usize / 2, "{heard} updates: what nobody reads is passed over");
    Ok(())
}

fn resident_kb(stack: &Stack) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", stack.left().pid()?))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

async fn b59_a_dead_reader_is_closed(stack: &Stack) -> Result<()> {
    let (client, agent) = stack.create_pair().await?;
    let mut client = stack.left().connect(&client).await?;
    client.send(Request::add_tunnel(agent.id)).await?;
    // Never read: it answers no ping.
    let mut dead = stack.right().try_connect(&Credentials::header(&agent.token)).await?;
    dead.send(&Request::node(&agent.node(1))).await?;
    client.expect_node(agent.id, &agent.node(1)).await;
    client.expect_lost(agent.id).await;
    stack.operator.until_gone(agent.id).await?;
    stack.assert_nothing_else(&[&client]).await
}
