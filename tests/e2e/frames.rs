//! Frames: several fields in one, and those that are none.

use anyhow::Result;
use serde_json::json;
use tailnet_harness::{Stack, stack::Pair};
use tailnet_tools::message::{Kind, Request};
use tailnet_wire::Role;
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

on_one_proxy_and_on_two! {
    b13_several_fields_in_one_request,
    b13_tunnel_opened_and_closed_in_one_request,
    b13_goodbye_is_done_after_tunnels_and_before_handshakes,
    b45_malformed_frame_ends_its_session_and_disturbs_no_other,
    b45_unknown_fields_of_a_node_are_kept,
    b45_largest_node_is_carried,
}

async fn b13_several_fields_in_one_request(stack: &Stack) -> Result<()> {
    let mut agent = stack.connect_right(Role::Agent).await?;
    let mut hub = stack.connect_left(Role::Hub).await?;
    stack.bind(&mut agent, 1).await?;

    // The handshake needs the tunnel, and the agent needs the node.
    hub.announce_with(1, Request::ready_for_handshake(&[agent.id()]).and_add_tunnel(agent.id())).await?;
    hub.expect_each_other(&agent).await;
    agent.expect_ready(hub.id()).await;
    stack.assert_nothing_else(&[&hub, &agent]).await
}

async fn b13_tunnel_opened_and_closed_in_one_request(stack: &Stack) -> Result<()> {
    let Pair { mut client, agent } = stack.pair().await?;
    // In the other order the tunnel would stay open.
    client.send(Request::add_tunnel(agent.id()).and_remove_tunnel(agent.id())).await?;
    client.expect_disconnected(agent.id()).await;
    agent.expect_disconnected(client.id()).await;
    assert!(!stack.operator.has_tunnel(client.id(), agent.id()).await?);
    stack.assert_nothing_else(&[&client, &agent]).await
}

async fn b13_goodbye_is_done_after_tunnels_and_before_handshakes(stack: &Stack) -> Result<()> {
    let mut agent = stack.connect_right(Role::Agent).await?;
    let mut hub = stack.connect_left(Role::Hub).await?;
    let absent = stack.create(Role::Agent).await?;
    agent.announce(1).await?;
    hub.announce_with(1, Request::add_tunnel(agent.id())).await?;
    hub.expect_each_other(&agent).await;

    let request = Request::add_tunnel(absent.id).and_disconnect().and_ready_for_handshake(&[agent.id()]);
    hub.announce_with(2, request).await?;
    hub.expect_close(1000).await;
    stack.settle(&[&agent]).await?;
    // It may have been told of the node before. It must not be told of a handshake.
    agent.assert_ended_on(hub.id(), Kind::Disconnected);
    assert_eq!(stack.operator.binding(hub.id()).await?, None);
    assert!(!stack.operator.has_tunnel(hub.id(), absent.id).await?, "opened before the goodbye, and deleted by it");
    let handshakes = agent.count(hub.id(), Kind::ReadyForHandshake);
    assert_eq!(handshakes, 0, "a handshake after the goodbye has no effect");
    Ok(())
}

async fn b45_malformed_frame_ends_its_session_and_disturbs_no_other(stack: &Stack) -> Result<()> {
    let Pair { client: mut bystander, agent } = stack.pair().await?;
    for (version, (message, texts, code)) in (2..).zip(malformed()) {
        let mut peer = stack.connect_left(Role::Hub).await?;
        peer.announce_with(1, Request::add_tunnel(agent.id())).await?;
        peer.expect_each_other(&agent).await;

        peer.send_raw(message).await?;
        peer.expect_refusal(texts, code).await;
        agent.expect_lost(peer.id()).await;
        bystander.announce_to(version, &[&agent]).await?;
    }
    stack.assert_nothing_else(&[&bystander, &agent]).await
}

/// Messages that no peer should send, what the error must say, and the close code.
fn malformed() -> Vec<(Message, &'static [&'static str], u16)> {
    let large = format!(r#"{{"update_self":{{"node":{{"x":"{}"}}}}}}"#, "x".repeat(128 * 1024));
    let large_node = format!(r#"{{"update_self":{{"node":{{"x":"{}"}}}}}}"#, "x".repeat(64 * 1024));
    let bad_type = r#"{"update_self":{"node":{"addresses":"fd7a::1/128"}}}"#;
    let misspelt = r#"{"update_self":{"node":{"Addresses":[]}}}"#;
    vec![
        (Message::text("{"), &["JSON"], 1007),
        (Message::text(""), &["JSON"], 1007),
        (Message::text("[]"), &["object"], 1008),
        (Message::text(r#"{"unheard_of":{}}"#), &["unheard_of"], 1008),
        (Message::text(r#"{"add_tunnel":{}}"#), &["`id`"], 1008),
        (Message::text(r#"{"add_tunnel":{"id":"17"}}"#), &["UUID"], 1008),
        (Message::text(r#"{"remove_tunnel":{"id":"17"}}"#), &["UUID"], 1008),
        (Message::text(r#"{"ready_for_handshake":{}}"#), &["a sequence"], 1008),
        (Message::text(r#"{"update_self":{"node":[]}}"#), &["node"], 1008),
        (Message::text(bad_type), &["node"], 1008),
        (Message::text(misspelt), &["Addresses", "addresses"], 1008),
        (Message::text(large_node), &["65536"], 1008),
        (Message::binary(b"{}".as_slice()), &["binary"], 1003),
        (Message::text(large), &["131072"], 1009),
    ]
}

async fn b45_unknown_fields_of_a_node_are_kept(stack: &Stack) -> Result<()> {
    let Pair { client, mut agent } = stack.pair().await?;
    // The text keeps the peer's own order, spaces and numbers.
    let text = r#"{ "z":1.50, "a" : {"z":[], "a":null},"key":"k","é":"\u00e9 ☃" }"#;
    agent.send_raw(Message::text(format!(r#"{{"update_self":{{"node":{text}}}}}"#))).await?;
    client.expect_node(agent.id(), &json!({"z": 1.5, "a": {"z": [], "a": null}, "key": "k", "é": "é ☃"})).await;
    let sql = "SELECT node::text FROM tailnet.peers WHERE peer_id = $1";
    assert_eq!(stack.operator.value::<String>(sql, &[&agent.id()]).await?, text);

    // A field of a request is no field of a node.
    let mut agent = stack.connect_right(Role::Agent).await?;
    agent.send_raw(Message::text(format!(r#"{{"update_self":{{"node":{{}},"id":"{}"}}}}"#, Uuid::nil()))).await?;
    agent.expect_refusal(&["id"], 1008).await;
    Ok(())
}

/// Postgres needs nine payloads for it, and must not cut a character in two.
async fn b45_largest_node_is_carried(stack: &Stack) -> Result<()> {
    let Pair { client, mut agent } = stack.pair().await?;
    let frame = r#"{"x":""}"#.len();
    let mut node = json!({"x": "☃".repeat((64 * 1024 - frame) / "☃".len())});
    let rest = 64 * 1024 - node.to_string().len();
    node["x"] = json!(format!("{}{}", node["x"].as_str().unwrap_or_default(), "x".repeat(rest)));
    assert_eq!(node.to_string().len(), 64 * 1024);
    agent.send(Request::node(&node)).await?;
    client.expect_node(agent.id(), &node).await;
    stack.assert_nothing_else(&[&client, &agent]).await
}
