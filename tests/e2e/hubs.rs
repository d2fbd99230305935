//! A peer that opens very many tunnels.

use anyhow::{Context, Result};
use tailnet_harness::{
    LogTap, Stack, TestPeer,
    deadline::until,
    operator::Peers,
    stack::{NETWORK, Setup},
    tap::Heard,
};
use tailnet_tools::identity::TestIdentity;
use tailnet_wire::{Event, Role};
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

on_one_proxy_and_on_two! {
    b12_hub_with_ten_thousand_tunnels,
}

tests_on! {
    v2_peers: Setup { peers: Peers::V2, ..Setup::of(1) } => b11_tunnels_that_were_closed_before_the_end_are_closed;
}

const AGENTS: i64 = 10_000;
const CONNECTED: usize = 50;

/// The other agents are on a coordinator that is no real process. Its heartbeat lies in the future, so nobody expires it.
const ELSEWHERE: &str = "
    WITH elsewhere AS (
        INSERT INTO tailnet_private.coordinators
            (id, name, registration, registered_at, heartbeat_at, on_time_since, restored, settled, protocol)
        SELECT gen_random_uuid(), 'elsewhere', gen_random_uuid(), now(), now() + '1 h'::interval, now(), true, true, 1
        RETURNING id)
    INSERT INTO tailnet_private.peers (id, network_id, role, coordinator_id, session, status, digest, node, updated_at)
    SELECT q.id, i.network_id, i.role, elsewhere.id, 0, 'ok', 0, q.node::json, now()
    FROM elsewhere, unnest($1::uuid[], $2::text[]) q(id, node) JOIN tailnet_private.identities i USING (id)";

async fn b12_hub_with_ten_thousand_tunnels(stack: &Stack) -> Result<()> {
    let agents = create_agents(stack, AGENTS).await?;
    let (here, elsewhere) = agents.split_at(CONNECTED);
    let mut connected = Vec::new();
    for agent in here {
        let mut agent = stack.right().connect(agent).await?;
        agent.announce(1).await?;
        connected.push(agent);
    }
    let (ids, nodes): (Vec<_>, Vec<_>) = elsewhere.iter().map(|agent| (agent.id, agent.node(1).to_string())).unzip();
    stack.operator.sql.execute(ELSEWHERE, &[&ids, &nodes]).await?;
    let mut hub = stack.connect_left(Role::Hub).await?;
    hub.announce(1).await?;
    for agent in &agents {
        hub.open_tunnel(agent.id).await?;
    }
    expect_all(&hub, &agents).await;
    for agent in &connected {
        agent.expect_node_of(&hub).await;
    }
    let tunnels = "SELECT count(*) FROM tailnet_private.tunnels WHERE src = $1";
    assert_eq!(stack.operator.value::<i64>(tunnels, &[&hub.id()]).await?, AGENTS);
    let mut tap = LogTap::open(stack).await?;

    let agent = connected.last_mut().context("some are connected")?;
    agent.announce_to(2, &[&hub]).await?;
    assert_one_event(&tap.take().await?, agent.id());

    // Postgres tells the proxy once, and the proxy tells fifty websockets.
    hub.announce_to(2, &connected.iter().collect::<Vec<_>>()).await?;
    assert_one_event(&tap.take().await?, hub.id());
    assert_quiet(&hub, &connected);

    // It comes back, and sees them all at once: more than fits into one page of a view, or into one frame.
    let identity = hub.identity().clone();
    let agent = connected.last_mut().context("some are connected")?;
    agent.announce_to(1, &[&hub]).await?;
    hub.cut().await?;
    for agent in &connected {
        agent.expect_lost(identity.id).await;
    }
    let mut hub = stack.left().connect(&identity).await?;
    expect_all(&hub, &agents).await;
    hub.announce_to(3, &connected.iter().collect::<Vec<_>>()).await?;
    assert_quiet(&hub, &connected);
    Ok(())
}

async fn expect_all(hub: &TestPeer, agents: &[TestIdentity]) {
    for agent in agents {
        hub.expect_node(agent.id, &agent.node(1)).await;
    }
}

async fn create_agents(stack: &Stack, count: i64) -> Result<Vec<TestIdentity>> {
    let sql = "SELECT p.peer_id, p.token
               FROM generate_series(1, $2::bigint) i,
                    LATERAL tailnet.create_peer($1, 'agent', name => 'agent ' || i) p";
    let rows = stack.operator.sql.query(sql, &[&NETWORK, &count]).await?;
    let agent = |row: &tokio_postgres::Row| {
        TestIdentity::new(row.get(0), Role::Agent, row.get(1), "an agent of the hub".to_owned())
    };
    Ok(rows.iter().map(agent).collect())
}

/// The most requests of one session that wait for Postgres: `MAX_WAITING` of the proxy. The next one waits for room.
const WAITING: i64 = 4096;

async fn b11_tunnels_that_were_closed_before_the_end_are_closed(stack: &Stack) -> Result<()> {
    let agents = create_agents(stack, WAITING + 1).await?;
    let mut hub = stack.connect_left(Role::Hub).await?;
    stack.bind(&mut hub, 1).await?;
    for agent in &agents {
        hub.open_tunnel(agent.id).await?;
    }
    let tunnels = "SELECT count(*) = $2 FROM tailnet_private.tunnels WHERE src = $1";
    stack.operator.until("all tunnels are open", tunnels, &[&hub.id(), &(WAITING + 1)]).await?;
    let mut other = stack.connect_left(Role::Client).await?;
    let mut locker = stack.database().connect().await?;
    let lock = locker.transaction().await?;
    lock.batch_execute("LOCK TABLE tailnet_private.tunnels IN EXCLUSIVE MODE").await?;
    let before = stack.left().metric("tailnet_messages_received_total").await?;
    for agent in &agents {
        hub.close_tunnel(agent.id).await?;
    }
    let heard = async || Ok::<_, anyhow::Error>(stack.left().metric("tailnet_messages_received_total").await? - before);
    until("all is heard", async || Ok(heard().await? >= agents.len() as u64)).await?;
    hub.send_raw(Message::Close(None)).await?;
    // The proxy works on meanwhile, and hears of the end.
    stack.bind(&mut other, 1).await?;
    lock.commit().await?;
    stack.operator.until("all tunnels are closed", tunnels, &[&hub.id(), &0_i64]).await
}

/// All coordinators together were told one thing, in one payload.
fn assert_one_event(heard: &[Heard], id: Uuid) {
    assert_eq!(heard.iter().map(|heard| heard.payloads).sum::<usize>(), 1, "{heard:?}");
    let events: Vec<_> = heard.iter().flat_map(|heard| &heard.events).collect();
    assert!(matches!(events[..], [Event::Changed { id: changed, .. }] if *changed == id), "{events:?}");
}

/// A marker would be another hub with as many tunnels. Instead, every agent has heard the hub's last node.
fn assert_quiet(hub: &TestPeer, connected: &[TestPeer]) {
    hub.assert_nothing_else();
    connected.iter().for_each(TestPeer::assert_nothing_else);
}
