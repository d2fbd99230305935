//! A peer with very many tunnels.

use anyhow::{Context, Result};
use tailnet_tests::{
    harness::{LogTap, Stack, TestIdentity, TestPeer, deadline::until, stack::NETWORK, tap::Heard},
    message::Request,
};
use tailnet_wire::{Event, Role};
use uuid::Uuid;

on_one_proxy_and_on_two! {
    b12_hub_with_ten_thousand_tunnels,
}

const AGENTS: i64 = 10_000;
const CONNECTED: usize = 50;

async fn b12_hub_with_ten_thousand_tunnels(stack: &Stack) -> Result<()> {
    let agents = create_agents(stack).await?;
    let mut connected = Vec::new();
    for agent in &agents[..CONNECTED] {
        let mut agent = stack.right().connect(agent).await?;
        agent.announce(1).await?;
        connected.push(agent);
    }
    let mut hub = stack.left().connect(&stack.create(Role::Hub).await?).await?;
    let hub_node = hub.announce(1).await?;
    for agent in &agents {
        hub.send(Request::add_tunnel(agent.id)).await?;
    }
    until("all tunnels are open", async || Ok(count_tunnels(stack, hub.id()).await? == AGENTS)).await?;
    for agent in &connected {
        hub.expect_node(agent.id(), &agent.identity().node(1)).await;
        agent.expect_node(hub.id(), &hub_node).await;
    }
    let mut tap = LogTap::open(stack, &stack.proxies().iter().collect::<Vec<_>>()).await?;

    let agent = connected.last_mut().context("some are connected")?;
    let agent_node = agent.announce(2).await?;
    hub.expect_node(agent.id(), &agent_node).await;
    assert_one_event(&tap.take().await?, agent.id());

    // Fifty sockets hear of it, their proxy once.
    let hub_node = hub.announce(2).await?;
    for agent in &connected {
        agent.expect_node(hub.id(), &hub_node).await;
    }
    assert_one_event(&tap.take().await?, hub.id());
    assert_quiet(&hub, &connected);
    Ok(())
}

async fn create_agents(stack: &Stack) -> Result<Vec<TestIdentity>> {
    let sql = "SELECT p.peer_id, p.token
               FROM generate_series(1, $2::bigint) i,
                    LATERAL tailnet.create_peer($1, 'agent', name => 'agent ' || i) p";
    let rows = stack.operator.sql.query(sql, &[&NETWORK, &AGENTS]).await?;
    let agent = |row: &tokio_postgres::Row| TestIdentity {
        id: row.get(0),
        role: Role::Agent,
        token: row.get(1),
        name: "an agent of the hub".to_owned(),
    };
    Ok(rows.iter().map(agent).collect())
}

async fn count_tunnels(stack: &Stack, src: Uuid) -> Result<i64> {
    let row =
        stack.operator.sql.query_one("SELECT count(*) FROM tailnet_private.tunnels WHERE src = $1", &[&src]).await?;
    Ok(row.get(0))
}

/// All coordinators together were told one thing, in one payload.
fn assert_one_event(heard: &[Heard], id: Uuid) {
    assert_eq!(heard.iter().map(|heard| heard.payloads).sum::<usize>(), 1, "{heard:?}");
    let events: Vec<_> = heard.iter().flat_map(|heard| &heard.events).collect();
    assert!(matches!(events[..], [Event::Changed { id: changed, .. }] if *changed == id), "{events:?}");
}

/// No marker here: it would be another hub with as many tunnels. Each has heard the hub's last node, which is newest.
fn assert_quiet(hub: &TestPeer, connected: &[TestPeer]) {
    hub.assert_nothing_else();
    connected.iter().for_each(TestPeer::assert_nothing_else);
}
