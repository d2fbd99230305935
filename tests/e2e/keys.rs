//! B90, B91, B93, B95 and B96: shared keys, and what comes to its end with time.

use anyhow::Result;
use tailnet_harness::{
    Stack,
    operator::TestKey,
    private_cluster::Shutdown,
    stack::{NETWORK, Setup},
    test_peer::TestPeer,
};
use tailnet_tools::{
    message::Request,
    websocket::{ConnectError, Credentials},
};
use tailnet_wire::Role;
use uuid::Uuid;

on_one_proxy_and_on_two! {
    b90_each_connection_with_a_shared_key_is_a_peer,
    b91_a_peer_comes_back_with_its_resume_token,
    b91_a_bad_resume_token_makes_no_peer,
    b93_two_tokens_of_a_key_are_good_at_once,
    b95_a_key_that_is_revoked_ends_its_peers,
    b95_a_key_and_a_peer_expire,
    b96_a_peer_that_stays_away_is_forgotten,
}

tests_on! {
    two_proxies_where_one_stalls: Setup::of(2) => b95_a_proxy_that_was_away_learns_of_an_expiry;
    own_postgres: Setup { private_cluster: true, ..Setup::of(2) } => b91_a_peer_comes_back_after_the_tables_were_lost,
        b54_tunnels_between_peers_of_keys_outlive_the_tables;
}

/// A hub of a shared key on the left, with a tunnel to an agent on the right; both know each other.
struct OfKey {
    hub: TestPeer,
    resume: String,
    agent: TestPeer,
}

/// A key with these more arguments, and a hub that came with it.
async fn of_key(stack: &Stack, more: &str) -> Result<(TestKey, OfKey)> {
    let key = stack.operator.create_key(NETWORK, Role::Hub, more).await?;
    let mut agent = stack.connect_right(Role::Agent).await?;
    agent.announce(1).await?;
    let (mut hub, resume) = stack.left().connect_with_key(&key, "").await?;
    hub.announce_with(1, Request::add_tunnel(agent.id())).await?;
    hub.expect_each_other(&agent).await;
    Ok((key, OfKey { hub, resume, agent }))
}

async fn refusal(stack: &Stack, credentials: &Credentials) -> u16 {
    match stack.right().try_connect(credentials).await {
        Err(ConnectError::Refused(status)) => status.as_u16(),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

async fn peers_of(stack: &Stack, key: Uuid) -> Result<i64> {
    stack.operator.value("SELECT count(*) FROM tailnet.peers WHERE key_id = $1", &[&key]).await
}

async fn b90_each_connection_with_a_shared_key_is_a_peer(stack: &Stack) -> Result<()> {
    let (key, OfKey { hub, agent, .. }) = of_key(stack, ", max_peers => 2").await?;
    let (mut other, _) = stack.right().connect_with_key(&key, "").await?;
    assert_ne!(other.id(), hub.id());
    other.announce_with(1, Request::add_tunnel(agent.id())).await?;
    other.expect_each_other(&agent).await;
    assert_eq!(peers_of(stack, key.id).await?, 2);

    // There is room for no third one, until one of them has left for good.
    assert_eq!(refusal(stack, &Credentials::header(&key.token)).await, 403);
    let left = other.id();
    other.disconnect().await?;
    agent.expect_disconnected(left).await;
    let (third, _) = stack.left().connect_with_key(&key, "").await?;
    stack.assert_nothing_else(&[&hub, &third, &agent]).await
}

async fn b91_a_peer_comes_back_with_its_resume_token(stack: &Stack) -> Result<()> {
    let (key, OfKey { hub, resume, agent }) = of_key(stack, "").await?;
    let id = hub.id();
    hub.cut().await?;
    agent.expect_lost(id).await;
    let (mut back, next) = stack.right().connect_with_key(&key, &resume).await?;
    assert_eq!(back.id(), id);
    back.expect_node_of(&agent).await;
    back.announce_to(2, &[&agent]).await?;

    // Also while the old session lives: it is superseded.
    let (again, _) = stack.left().connect_with_key(&key, &next).await?;
    assert_eq!(again.id(), id);
    back.expect_close(4001).await;
    again.expect_node_of(&agent).await;
    assert_eq!(peers_of(stack, key.id).await?, 1);
    stack.assert_nothing_else(&[&again, &agent]).await
}

async fn b91_a_bad_resume_token_makes_no_peer(stack: &Stack) -> Result<()> {
    let (key, OfKey { hub, resume, agent }) = of_key(stack, "").await?;
    let other = stack.operator.create_key(NETWORK, Role::Hub, "").await?;
    let forged = format!("{}AAAA", &resume[..resume.len() - 4]);
    for (key, resume) in [(&key, forged.as_str()), (&key, "tnr_"), (&other, &resume)] {
        assert_eq!(refusal(stack, &Credentials::header(&key.token).resuming(resume)).await, 401, "{resume}");
    }
    assert_eq!((peers_of(stack, key.id).await?, peers_of(stack, other.id).await?), (1, 0));
    let (new, _) = stack.right().connect_with_key(&other, "").await?;
    stack.assert_nothing_else(&[&hub, &new, &agent]).await
}

async fn b91_a_peer_comes_back_after_the_tables_were_lost(stack: &Stack) -> Result<()> {
    let (key, OfKey { hub, resume, agent }) = of_key(stack, "").await?;
    let id = hub.id();
    // The marker is made while there is a connection to make it with.
    stack.settle(&[&agent]).await?;
    hub.cut().await?;
    agent.expect_lost(id).await;
    stack.cluster().restart(Shutdown::Kill).await?;
    agent.expect_disconnected(id).await;
    for proxy in stack.proxies() {
        proxy.until_ready(true).await?;
    }
    let (back, _) = stack.right().connect_with_key(&key, &resume).await?;
    assert_eq!(back.id(), id);
    let operator = stack.database().operator().await?;
    assert!(!operator.has_tunnel(id, agent.id()).await?);
    stack.assert_nothing_else(&[&agent]).await
}

/// The two proxies restore them in either order.
async fn b54_tunnels_between_peers_of_keys_outlive_the_tables(stack: &Stack) -> Result<()> {
    let hubs = stack.operator.create_key(NETWORK, Role::Hub, "").await?;
    let clients = stack.operator.create_key(NETWORK, Role::Client, "").await?;
    let mut pairs = Vec::new();
    for _ in 0..5 {
        for (of_hub, of_client) in [(stack.left(), stack.right()), (stack.right(), stack.left())] {
            let (mut client, _) = of_client.connect_with_key(&clients, "").await?;
            let (mut hub, _) = of_hub.connect_with_key(&hubs, "").await?;
            stack.bind(&mut client, 1).await?;
            hub.announce_with(1, Request::add_tunnel(client.id())).await?;
            hub.expect_each_other(&client).await;
            pairs.push((hub, client));
        }
    }
    // The marker is made while there is a connection to make it with.
    stack.settle(&pairs.iter().map(|(hub, _)| hub).collect::<Vec<_>>()).await?;
    for version in [2, 3] {
        stack.cluster().restart(Shutdown::Kill).await?;
        for proxy in stack.proxies() {
            proxy.until_ready(true).await?;
        }
        for (hub, client) in &mut pairs {
            hub.announce_to(version, &[client]).await?;
            client.announce_to(version, &[hub]).await?;
        }
    }
    let all: Vec<&TestPeer> = pairs.iter().flat_map(|(hub, client)| [hub, client]).collect();
    stack.assert_nothing_else(&all).await
}

async fn b93_two_tokens_of_a_key_are_good_at_once(stack: &Stack) -> Result<()> {
    let (mut key, OfKey { hub, agent, .. }) = of_key(stack, "").await?;
    let rotate = "SELECT tailnet.rotate_token($1, '1 hour')";
    let older = std::mem::replace(&mut key.token, stack.operator.value(rotate, &[&key.id]).await?);
    let (new, _) = stack.right().connect_with_key(&key, "").await?;
    let with_older = stack.right().try_connect(&Credentials::header(&older)).await?;
    drop(with_older);

    // The overlap ends, and with it the sessions of the older token.
    let end = "UPDATE tailnet_private.tokens SET expires_at = now() WHERE expires_at IS NOT NULL";
    stack.operator.sql.batch_execute(end).await?;
    assert_eq!(hub.expect_close(4003).await, "revoked");
    agent.expect_disconnected(hub.id()).await;
    assert_eq!(refusal(stack, &Credentials::header(&older)).await, 401);
    stack.assert_nothing_else(&[&new, &agent]).await
}

async fn b95_a_key_that_is_revoked_ends_its_peers(stack: &Stack) -> Result<()> {
    let (key, OfKey { hub, agent, resume }) = of_key(stack, "").await?;
    let (other, _) = stack.right().connect_with_key(&key, "").await?;
    let _: bool = stack.operator.value("SELECT tailnet.revoke_key($1)", &[&key.id]).await?;
    assert_eq!(refusal(stack, &Credentials::header(&key.token)).await, 401);
    assert_eq!(refusal(stack, &Credentials::header(&key.token).resuming(&resume)).await, 401);
    assert_eq!(hub.expect_close(4003).await, "revoked");
    assert_eq!(other.expect_close(4003).await, "revoked");
    agent.expect_disconnected(hub.id()).await;
    assert_eq!(peers_of(stack, key.id).await?, 0);
    stack.assert_nothing_else(&[&agent]).await
}

async fn b95_a_key_and_a_peer_expire(stack: &Stack) -> Result<()> {
    let (key, OfKey { hub, agent, .. }) = of_key(stack, ", expires_at => now() + '1 hour'::interval").await?;
    let other = stack.connect_right(Role::Client).await?;
    let expire = "UPDATE tailnet_private.identities SET expires_at = clock_timestamp() WHERE id = $1";
    stack.operator.sql.execute(expire, &[&other.id()]).await?;
    assert_eq!(other.expect_close(4003).await, "expired");
    assert_eq!(refusal(stack, &Credentials::header(&other.identity().token)).await, 401);

    let expire = "UPDATE tailnet_private.keys SET expires_at = clock_timestamp() WHERE id = $1";
    stack.operator.sql.execute(expire, &[&key.id]).await?;
    assert_eq!(hub.expect_close(4003).await, "expired");
    agent.expect_disconnected(hub.id()).await;
    assert_eq!(refusal(stack, &Credentials::header(&key.token)).await, 401);
    stack.assert_nothing_else(&[&agent]).await
}

/// It is expired itself meanwhile, and learns of the expiry when it restores its sessions.
async fn b95_a_proxy_that_was_away_learns_of_an_expiry(stack: &Stack) -> Result<()> {
    let (key, OfKey { hub, agent, .. }) = of_key(stack, "").await?;
    stack.left().stall().await?;
    agent.expect_lost(hub.id()).await;
    let expire = "UPDATE tailnet_private.keys SET expires_at = clock_timestamp() WHERE id = $1";
    stack.operator.sql.execute(expire, &[&key.id]).await?;
    agent.expect_disconnected(hub.id()).await;
    stack.left().go_on().await?;
    assert_eq!(hub.expect_close(4003).await, "expired");
    stack.assert_nothing_else(&[&agent]).await
}

async fn b96_a_peer_that_stays_away_is_forgotten(stack: &Stack) -> Result<()> {
    let (key, OfKey { hub, resume, agent }) = of_key(stack, ", time_to_live => '1 s'").await?;
    let id = hub.id();
    hub.cut().await?;
    agent.expect_lost(id).await;
    agent.expect_disconnected(id).await;
    assert_eq!(peers_of(stack, key.id).await?, 0);
    assert!(!stack.operator.has_tunnel(id, agent.id()).await?);
    let (back, _) = stack.right().connect_with_key(&key, &resume).await?;
    assert_eq!(back.id(), id);
    stack.assert_nothing_else(&[&back, &agent]).await
}
