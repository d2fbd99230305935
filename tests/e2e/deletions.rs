//! B97: operators end sessions, and delete peers and networks.

use anyhow::Result;
use tailnet_harness::{
    Stack,
    stack::{NETWORK, Pair},
};
use tailnet_tools::{
    message::Request,
    websocket::{ConnectError, Credentials},
};
use tailnet_wire::Role;

on_one_proxy_and_on_two! {
    b97_a_peer_that_is_disconnected_may_come_back,
    b97_a_peer_that_is_deleted_may_not,
    b97_a_peer_of_a_key_that_is_deleted_may_not,
    b97_a_network_is_deleted_with_all_in_it,
}

async fn refusal(stack: &Stack, credentials: &Credentials) -> u16 {
    match stack.right().try_connect(credentials).await {
        Err(ConnectError::Refused(status)) => status.as_u16(),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

async fn b97_a_peer_that_is_disconnected_may_come_back(stack: &Stack) -> Result<()> {
    let Pair { client, agent } = stack.pair().await?;
    let identity = client.identity().clone();

    let disconnect = "SELECT tailnet.disconnect_peer($1)";
    assert!(stack.operator.value::<bool>(disconnect, &[&identity.id]).await?);
    assert_eq!(client.expect_close(1012).await, "an operator ended the session, connect again");
    agent.expect_lost(identity.id).await;
    stack.operator.until("nothing is pending", "SELECT count(*) = 0 FROM tailnet.pending", &[]).await?;
    assert!(!stack.operator.value::<bool>(disconnect, &[&identity.id]).await?, "it has no session");

    let mut client = stack.right().connect(&identity).await?;
    client.expect_node_of(&agent).await;
    client.announce_to(2, &[&agent]).await?;
    stack.assert_nothing_else(&[&client, &agent]).await
}

async fn b97_a_peer_that_is_deleted_may_not(stack: &Stack) -> Result<()> {
    let Pair { client, agent } = stack.pair().await?;
    let identity = client.identity().clone();

    stack.operator.sql.execute("SELECT tailnet.delete_peer($1)", &[&identity.id]).await?;
    assert_eq!(refusal(stack, &Credentials::header(&identity.token)).await, 401);
    client.expect_close(4003).await;
    agent.expect_disconnected(identity.id).await;
    stack.operator.until_gone(identity.id).await?;
    let left = "SELECT count(*) FROM tailnet.identities WHERE peer_id = $1";
    assert_eq!(stack.operator.value::<i64>(left, &[&identity.id]).await?, 0);
    stack.assert_nothing_else(&[&agent]).await
}

async fn b97_a_peer_of_a_key_that_is_deleted_may_not(stack: &Stack) -> Result<()> {
    let key = stack.operator.create_key(NETWORK, Role::Hub, "").await?;
    let (mut hub, resume) = stack.left().connect_with_key(&key, "").await?;
    stack.bind(&mut hub, 1).await?;
    let (other, _) = stack.right().connect_with_key(&key, "").await?;
    stack.operator.sql.execute("SELECT tailnet.delete_peer($1)", &[&hub.id()]).await?;
    assert_eq!(refusal(stack, &Credentials::header(&key.token).resuming(&resume)).await, 401);
    hub.expect_close(4003).await;
    stack.operator.until_gone(hub.id()).await?;
    assert_eq!(refusal(stack, &Credentials::header(&key.token).resuming(&resume)).await, 401);
    let (new, _) = stack.left().connect_with_key(&key, "").await?;
    assert_ne!(new.id(), hub.id());
    stack.assert_nothing_else(&[&other, &new]).await
}

async fn b97_a_network_is_deleted_with_all_in_it(stack: &Stack) -> Result<()> {
    let name = "doomed";
    let operator = &stack.operator;
    let network = operator.create_network(name).await?;
    let key = operator.create_key(name, Role::Hub, ", tags => '{ci}'").await?;
    let identity = operator.create_peer(name, Role::Agent).await?;
    let mut agent = stack.left().connect(&identity).await?;
    agent.announce(1).await?;
    let (mut hub, _) = stack.right().connect_with_key(&key, "").await?;
    hub.announce_with(1, Request::add_tunnel(agent.id())).await?;
    hub.expect_each_other(&agent).await;
    let bystander = stack.connect_right(Role::Hub).await?;

    let refused =
        operator.sql.execute("SELECT tailnet.delete_network($1)", &[&name]).await.expect_err("it has sessions");
    let error = refused.as_db_error().expect("an error of the database");
    assert_eq!((error.code().code(), error.message()), ("55006", "network 'doomed' has 2 sessions"));
    operator.sql.execute("SELECT tailnet.delete_network($1, force => true)", &[&name]).await?;
    agent.expect_close(4003).await;
    hub.expect_close(4003).await;
    assert_eq!(refusal(stack, &Credentials::header(&identity.token)).await, 401);
    assert_eq!(refusal(stack, &Credentials::header(&key.token)).await, 401);
    operator.until("nothing is pending", "SELECT count(*) = 0 FROM tailnet.pending", &[]).await?;
    let rows = "SELECT (SELECT count(*) FROM tailnet_private.networks WHERE id = $1)
                     + (SELECT count(*) FROM tailnet_private.identities WHERE network_id = $1)
                     + (SELECT count(*) FROM tailnet_private.keys WHERE network_id = $1)
                     + (SELECT count(*) FROM tailnet_private.tags WHERE network_id = $1)
                     + (SELECT count(*) FROM tailnet_private.peers WHERE network_id = $1)";
    assert_eq!(operator.value::<i64>(rows, &[&network]).await?, 0);
    operator.create_network(name).await?;
    stack.assert_nothing_else(&[&bystander]).await
}
