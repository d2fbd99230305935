//! Networks: no peer learns anything of another network.

use anyhow::Result;
use tailnet_harness::{Marker, Stack, stack::NETWORK};
use tailnet_tools::{identity::TestIdentity, message::Request};
use tailnet_wire::Role;
use uuid::Uuid;

on_one_proxy_and_on_two! {
    b43_peers_of_another_network_do_not_exist,
}

const AWAY: &str = "away";

async fn b43_peers_of_another_network_do_not_exist(stack: &Stack) -> Result<()> {
    stack.operator.create_network(AWAY).await?;
    for network in [NETWORK, AWAY] {
        stack.operator.let_clients_reach_all_agents(network).await?;
    }
    let marker = Marker::new(&stack.operator, AWAY, stack.left()).await?;
    let mut away = stack.right().connect(&stack.operator.create_peer(AWAY, Role::Agent).await?).await?;
    stack.bind(&mut away, 1).await?;

    for role in [Role::Client, Role::Hub] {
        let identity = stack.create(role).await?;
        let tunnel = |id| Request::add_tunnel(id);
        let known = answer(stack, &identity, away.id(), tunnel).await?;
        assert_eq!(known, answer(stack, &identity, Uuid::new_v4(), tunnel).await?, "{role}: the same as for no peer");
    }
    let identity = stack.create(Role::Agent).await?;
    let ready = |id| Request::ready_for_handshake(&[id]);
    let known = answer(stack, &identity, away.id(), ready).await?;
    assert_eq!(known, answer(stack, &identity, Uuid::new_v4(), ready).await?, "the same as for no peer");

    marker.pass(&[&away]).await?;
    away.assert_nothing_else();
    let tunnels = "SELECT count(*) FROM tailnet.tunnels WHERE dst_id = $1 AND src_id <> $2";
    assert_eq!(stack.operator.value::<i64>(tunnels, &[&away.id(), &marker.id()]).await?, 0);
    Ok(())
}

/// What a peer is told when it asks for `id`, with the id itself left out.
async fn answer(stack: &Stack, identity: &TestIdentity, id: Uuid, request: impl Fn(Uuid) -> Request) -> Result<String> {
    let mut peer = stack.left().connect(identity).await?;
    peer.announce(1).await?;
    peer.send(request(id)).await?;
    let error = peer.next_error().await;
    assert!(error.contains(&id.to_string()), "{error}");
    peer.cut().await?;
    Ok(error.replace(&id.to_string(), "…"))
}
