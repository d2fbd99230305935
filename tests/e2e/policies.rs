//! B98 to B103: tags and policies.

use anyhow::{Context, Result};
use tailnet_harness::{
    Stack,
    stack::{NETWORK, Pair},
    test_peer::TestPeer,
};
use tailnet_tools::message::Request;
use tailnet_wire::Role;
use uuid::Uuid;

on_one_proxy_and_on_two! {
    b98_a_peer_of_a_key_has_the_tags_of_the_key,
    b99_a_policy_allows_tunnels_between_two_tags,
    b100_a_policy_on_equal_values_allows_them_only,
    b101_what_nothing_allows_any_more_is_closed,
    b102_an_explanation_agrees_with_what_is_done,
    b103_a_change_that_breaks_a_test_does_not_happen,
}

async fn set_tags(stack: &Stack, owner: Uuid, tags: &[&str]) -> Result<()> {
    stack.operator.value::<bool>("SELECT tailnet.set_tags($1, $2)", &[&owner, &tags]).await.map(drop)
}

async fn create_policy(stack: &Stack, name: &str, source: &str, destination: &str) -> Result<()> {
    let sql = "SELECT tailnet.create_policy($1, $2, $3, $4)";
    stack.operator.sql.execute(sql, &[&NETWORK, &name, &source, &destination]).await?;
    Ok(())
}

async fn explain(stack: &Stack, src: Uuid, dst: Uuid) -> Result<String> {
    stack.operator.value("SELECT tailnet.explain_tunnel($1, $2)", &[&src, &dst]).await
}

/// A client on the left and an agent on the right that share no tunnel. Both have announced a node.
async fn strangers(stack: &Stack) -> Result<(TestPeer, TestPeer)> {
    let mut client = stack.connect_left(Role::Client).await?;
    let mut agent = stack.connect_right(Role::Agent).await?;
    client.announce(1).await?;
    agent.announce(1).await?;
    Ok((client, agent))
}

/// The client asks for a tunnel, is refused, and connects again.
async fn refused(stack: &Stack, mut client: TestPeer, dst: Uuid) -> Result<TestPeer> {
    let identity = client.identity().clone();
    client.open_tunnel(dst).await?;
    client.expect_refusal(&[&dst.to_string()], 1008).await;
    let mut client = stack.left().connect(&identity).await?;
    client.announce(1).await?;
    Ok(client)
}

async fn b98_a_peer_of_a_key_has_the_tags_of_the_key(stack: &Stack) -> Result<()> {
    let key = stack.operator.create_key(NETWORK, Role::Client, "").await?;
    let mut agent = stack.connect_right(Role::Agent).await?;
    agent.announce(1).await?;
    set_tags(stack, agent.id(), &["prod"]).await?;
    create_policy(stack, "runners", "ci", "prod").await?;
    set_tags(stack, key.id, &["ci"]).await?;
    let (mut runner, _) = stack.left().connect_with_key(&key, "").await?;
    runner.announce_with(1, Request::add_tunnel(agent.id())).await?;
    runner.expect_each_other(&agent).await;

    // The tags of live peers change with those of their key.
    set_tags(stack, key.id, &[]).await?;
    runner.expect_disconnected(agent.id()).await;
    agent.expect_disconnected(runner.id()).await;
    stack.assert_nothing_else(&[&runner, &agent]).await
}

async fn b99_a_policy_allows_tunnels_between_two_tags(stack: &Stack) -> Result<()> {
    let (client, agent) = strangers(stack).await?;
    set_tags(stack, client.id(), &["dev", "night"]).await?;
    set_tags(stack, agent.id(), &["prod"]).await?;
    let mut client = refused(stack, client, agent.id()).await?;
    create_policy(stack, "developers", "dev", "prod").await?;
    client.open_tunnel(agent.id()).await?;
    client.expect_each_other(&agent).await;

    // Two laptops too, but no other role: an agent opens nothing, and a client reaches no hub.
    let mut laptop = stack.connect_right(Role::Client).await?;
    let hub = stack.create(Role::Hub).await?;
    laptop.announce(1).await?;
    set_tags(stack, laptop.id(), &["prod"]).await?;
    set_tags(stack, hub.id, &["prod"]).await?;
    client.open_tunnel(laptop.id()).await?;
    client.expect_each_other(&laptop).await;
    stack.assert_nothing_else(&[&client, &laptop, &agent]).await?;
    client.open_tunnel(hub.id).await?;
    client.expect_refusal(&[&hub.id.to_string()], 1008).await;
    Ok(())
}

async fn b100_a_policy_on_equal_values_allows_them_only(stack: &Stack) -> Result<()> {
    create_policy(stack, "owners", "owner=*", "owner=*").await?;
    let (client, agent) = strangers(stack).await?;
    let mut client = refused(stack, client, agent.id()).await?;
    for (of_client, of_agent) in [("owner=ann", None), ("owner=ann", Some("owner=bob")), ("team=a", Some("team=a"))] {
        set_tags(stack, client.id(), &[of_client]).await?;
        set_tags(stack, agent.id(), &of_agent.into_iter().collect::<Vec<_>>()).await?;
        client = refused(stack, client, agent.id()).await?;
    }
    set_tags(stack, client.id(), &["owner=bob"]).await?;
    set_tags(stack, agent.id(), &["owner=bob"]).await?;
    client.open_tunnel(agent.id()).await?;
    client.expect_each_other(&agent).await;
    stack.assert_nothing_else(&[&client, &agent]).await
}

async fn b101_what_nothing_allows_any_more_is_closed(stack: &Stack) -> Result<()> {
    let (mut client, agent) = strangers(stack).await?;
    let Pair { client: granted, agent: by_grant } = stack.pair().await?;
    for peer in [&client, &granted] {
        set_tags(stack, peer.id(), &["dev"]).await?;
    }
    for peer in [&agent, &by_grant] {
        set_tags(stack, peer.id(), &["prod"]).await?;
    }
    create_policy(stack, "developers", "dev", "prod").await?;
    client.open_tunnel(agent.id()).await?;
    client.expect_each_other(&agent).await;

    let dropped: bool = stack.operator.value("SELECT tailnet.drop_policy($1, 'developers')", &[&NETWORK]).await?;
    assert!(dropped);
    client.expect_disconnected(agent.id()).await;
    agent.expect_disconnected(client.id()).await;
    assert!(stack.operator.has_tunnel(granted.id(), by_grant.id()).await?, "a grant allows it");
    stack.assert_nothing_else(&[&client, &agent, &granted, &by_grant]).await?;
    let client = refused(stack, client, agent.id()).await?;
    stack.assert_nothing_else(&[&client, &agent, &granted, &by_grant]).await
}

async fn b102_an_explanation_agrees_with_what_is_done(stack: &Stack) -> Result<()> {
    let (client, agent) = strangers(stack).await?;
    assert!(explain(stack, client.id(), agent.id()).await?.starts_with("not allowed: there is no grant"));
    let mut client = refused(stack, client, agent.id()).await?;
    set_tags(stack, client.id(), &["dev"]).await?;
    set_tags(stack, agent.id(), &["prod"]).await?;
    create_policy(stack, "developers", "dev", "prod").await?;
    assert_eq!(explain(stack, client.id(), agent.id()).await?, "allowed: policy developers");
    client.open_tunnel(agent.id()).await?;
    client.expect_each_other(&agent).await;
    assert_eq!(explain(stack, agent.id(), client.id()).await?, "not allowed: an agent opens no tunnels");
    stack.operator.grant_tunnel(client.id(), agent.id()).await?;
    assert_eq!(explain(stack, client.id(), agent.id()).await?, "allowed: a grant");
    stack.operator.revoke_peer(agent.id()).await?;
    let revoked = "not allowed: the destination or its key is revoked or expired";
    assert_eq!(explain(stack, client.id(), agent.id()).await?, revoked);
    Ok(())
}

async fn b103_a_change_that_breaks_a_test_does_not_happen(stack: &Stack) -> Result<()> {
    let (mut client, agent) = strangers(stack).await?;
    set_tags(stack, client.id(), &["dev"]).await?;
    set_tags(stack, agent.id(), &["prod"]).await?;
    create_policy(stack, "developers", "dev", "prod").await?;
    let test = "SELECT tailnet.create_policy_test($1, 'developers reach prod', 'dev', 'prod', true)";
    stack.operator.sql.execute(test, &[&NETWORK]).await?;
    client.open_tunnel(agent.id()).await?;
    client.expect_each_other(&agent).await;

    let broken = stack.operator.sql.execute("SELECT tailnet.drop_policy($1, 'developers')", &[&NETWORK]).await;
    let error = broken.err().context("it must fail")?;
    let message = error.as_db_error().map(tokio_postgres::error::DbError::message).unwrap_or_default();
    assert!(message.contains("developers reach prod"), "{message}");
    assert_eq!(explain(stack, client.id(), agent.id()).await?, "allowed: policy developers");
    stack.operator.until("nothing is pending", "SELECT NOT EXISTS (SELECT FROM tailnet.pending)", &[]).await?;
    stack.assert_nothing_else(&[&client, &agent]).await
}
