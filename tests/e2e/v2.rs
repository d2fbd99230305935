//! Peers that speak tailnet v2: the behaviours of all peers once more, and those that only they have.
//!
//! `tests/interop` has the same protocol from the side of the Go libraries that real clients use.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result, bail, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use prost::Message as _;
use serde_json::Value;
use tailnet_harness::{Stack, deadline::DEADLINE, http, operator::Peers, stack::Setup};
use tailnet_v2::{
    drpc::{Kind, Reader},
    messages::tailnet::{
        CoordinateResponse, DerpMap, RefreshResumeTokenResponse,
        coordinate_response::{PeerUpdate, peer_update::Kind as Update},
    },
    yamux::{Event, Session, Side},
};
use tailnet_wire::Role;
use tokio::{io::AsyncReadExt as _, net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{ClientRequestBuilder, Message},
};
use uuid::Uuid;

use crate::{
    bindings::{
        b02_a_node_without_partners_is_stored_and_nobody_is_told, b03_returning_peer_sees_its_partner_at_once,
        b04_rapid_updates_end_on_the_last, b09_nobody_is_told_of_a_lost_peer_without_a_node,
        b09_nobody_is_told_of_a_new_time_alone, b09_nobody_is_told_of_a_second_loss, b10_graceful_disconnect,
        b11_any_other_end_is_a_loss,
    },
    handshakes::b30_ready_for_handshake,
    real_peers::real_peers_echo_through_wireguard,
    restarts::{b54_fast_restart, b54_immediate_restart, b54_kill},
    sessions::b20_newer_session_supersedes_the_older,
    tunnels::{
        b01_tunnel_to_an_absent_agent, b05_node_bound_before_its_tunnel_opens, b06_tunnels_opened_from_both_ends,
        b07_closed_tunnel, b08_peer_closes_a_tunnel_and_ends_at_once,
    },
};

tests_on! {
    all_peers: Setup { peers: Peers::V2, ..Setup::of(2) } =>
        b01_tunnel_to_an_absent_agent,
        b02_a_node_without_partners_is_stored_and_nobody_is_told,
        b03_returning_peer_sees_its_partner_at_once,
        b04_rapid_updates_end_on_the_last,
        b05_node_bound_before_its_tunnel_opens,
        b06_tunnels_opened_from_both_ends,
        b07_closed_tunnel,
        b08_peer_closes_a_tunnel_and_ends_at_once,
        b09_nobody_is_told_of_a_lost_peer_without_a_node,
        b09_nobody_is_told_of_a_new_time_alone,
        b09_nobody_is_told_of_a_second_loss,
        b10_graceful_disconnect,
        b11_any_other_end_is_a_loss,
        b20_newer_session_supersedes_the_older,
        b30_ready_for_handshake,
        real_peers_echo_through_wireguard;
    b110_agents: Setup { peers: Peers::Mixed, ..Setup::of(2) } =>
        b03_returning_peer_sees_its_partner_at_once,
        b04_rapid_updates_end_on_the_last,
        b07_closed_tunnel,
        b10_graceful_disconnect,
        b11_any_other_end_is_a_loss,
        b30_ready_for_handshake,
        real_peers_echo_through_wireguard;
    own_postgres: Setup { peers: Peers::V2, private_cluster: true, ..Setup::of(2) } =>
        b54_fast_restart, b54_immediate_restart, b54_kill, b118_no_dial_while_postgres_is_away;
    one_proxy: Setup::of(1) => silent_connections_are_closed;
    two_proxies: Setup::of(2) => b110_recorded_clients_are_served;
}

async fn b118_no_dial_while_postgres_is_away(stack: &Stack) -> Result<()> {
    let client = stack.create(Role::Client).await?;
    stack.cluster().stop(tailnet_harness::private_cluster::Shutdown::Fast).await?;
    stack.left().until_ready(false).await?;
    let paths = ["/api/v2/tailnet?version=2.0", "/api/v2/workspaceagents/connection"];
    for path in paths {
        let (head, body) = http::answer(stack.left().public(), path, &[("Coder-Session-Token", &client.token)]).await?;
        assert!(head.starts_with("HTTP/1.0 503 ") && head.contains("\r\nretry-after: "), "{head}");
        let problem: Value = serde_json::from_str(&body).context("the body is JSON")?;
        assert!(problem["message"].is_string() && problem["detail"].is_string(), "{body}");
    }
    stack.cluster().start_again().await
}

/// Whoever sends nothing must not keep a socket of the proxy.
async fn silent_connections_are_closed(stack: &Stack) -> Result<()> {
    let mut silent = TcpStream::connect(stack.left().public()).await?;
    let mut rest = Vec::new();
    timeout(DEADLINE, silent.read_to_end(&mut rest)).await.context("the connection stays open")??;
    assert_eq!(String::from_utf8_lossy(&rest), "", "there was no request to answer");
    Ok(())
}

const RECORDINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../v2/tests/recordings");
const AGENT: &str = "5a6b7c8d-0000-4000-8000-0000000000a1";
const MAP: &str = r#"{"Regions":{"1":{"RegionID":1,"RegionCode":"one",
    "Nodes":[{"Name":"1a","RegionID":1,"HostName":"derp.example.test","STUNPort":-1}]}}}"#;

/// What a recorded client sent: bytes of real programs.
fn recorded(file: &str) -> Result<Vec<Vec<u8>>> {
    let text = std::fs::read_to_string(Path::new(RECORDINGS).join(file))?;
    let mut messages = Vec::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line)?;
        if let (Some("client"), Some(message)) = (line["from"].as_str(), line["message"].as_str()) {
            messages.push(hex::decode(message)?);
        }
    }
    ensure!(!messages.is_empty(), "{file} has no bytes of a client");
    Ok(messages)
}

/// A recorded client that is played again.
struct Replay {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    session: Session,
    readers: BTreeMap<u32, Reader>,
    /// The packets that it got, by stream.
    packets: BTreeMap<u32, Vec<(Kind, Vec<u8>)>>,
}

impl Replay {
    async fn begin(url: &str, path: &str, token: &str) -> Result<Self> {
        let request =
            ClientRequestBuilder::new(format!("{url}{path}").parse()?).with_header("Coder-Session-Token", token);
        let (socket, _) = connect_async(request).await?;
        let mut session = Session::new(Side::Client, 0);
        let readers = (0..8).map(|_| (session.open(), Reader::new(4 << 20))).collect();
        Ok(Self { socket, session, readers, packets: BTreeMap::new() })
    }

    async fn send(&mut self, messages: &[Vec<u8>]) -> Result<()> {
        for message in messages {
            self.socket.send(Message::binary(message.clone())).await?;
        }
        Ok(())
    }

    /// Reads until a stream has got what is looked for.
    async fn until<T>(&mut self, stream: u32, find: impl Fn(&[(Kind, Vec<u8>)]) -> Option<T>) -> Result<T> {
        timeout(DEADLINE, async {
            loop {
                if let Some(found) = self.packets.get(&stream).and_then(|packets| find(packets)) {
                    return Ok(found);
                }
                let Some(message) = self.socket.next().await else { bail!("the connection ended") };
                let Message::Binary(bytes) = message? else { continue };
                let mut input = &bytes[..];
                while let Some(event) = self.session.receive(&mut input)? {
                    let Event::Data(stream, mut bytes) = event else { continue };
                    let reader = self.readers.get_mut(&stream).context("a stream that the client did not open")?;
                    while let Some(packet) = reader.receive(&mut bytes)? {
                        self.packets.entry(stream).or_default().push((packet.kind, packet.data));
                    }
                }
            }
        })
        .await
        .with_context(|| format!("stream {stream} got only {:?}", self.packets.get(&stream)))?
    }

    /// Waits for an update of this kind about a peer.
    async fn updated(&mut self, id: Option<Uuid>, kind: Update) -> Result<PeerUpdate> {
        self.until(1, |packets| {
            let messages = packets.iter().filter(|(kind, _)| *kind == Kind::Message);
            let mut updates = messages.flat_map(|(_, data)| {
                CoordinateResponse::decode(data.as_slice()).map(|response| response.peer_updates).unwrap_or_default()
            });
            updates.find(|update| update.kind() == kind && id.is_none_or(|id| update.id == id.as_bytes()))
        })
        .await
    }
}

async fn b110_recorded_clients_are_served(stack: &Stack) -> Result<()> {
    let agent: Uuid = AGENT.parse()?;
    let sql = &stack.operator.sql;
    sql.execute("SELECT tailnet.set_derp_map('home', $1::text::jsonb)", &[&MAP]).await?;
    let create = "SELECT token FROM tailnet.create_peer('home', 'agent', 'recorded', $1)";
    let agent_token: String = stack.operator.value(create, &[&agent]).await?;
    stack.operator.let_clients_reach_all_agents("home").await?;
    let key = stack.operator.create_key("home", Role::Client, "").await?;
    let path = format!("/api/v2/workspaceagents/{agent}/coordinate?version=2.0");

    let (of_agent, of_client) = (recorded("agent.jsonl")?, recorded("client.jsonl")?);
    // The agent says all but that it is ready for a client of another id.
    let mut agent_side = Replay::begin(&stack.left().url(), &path, &agent_token).await?;
    agent_side.send(&of_agent[..10]).await?;
    let map = agent_side.until(3, |packets| packets.first().cloned()).await?;
    assert_eq!(DerpMap::decode(map.1.as_slice())?.regions[&1].nodes[0].stun_port, -1);

    // The client waited for the answer to its call for a resume token, and for the end of its goodbye.
    let (before_token, rest) = of_client.split_at(9);
    let (before_goodbye, rest) = rest.split_at(13);
    let (goodbye, after) = rest.split_at(2);
    let mut client = Replay::begin(&stack.right().url(), &path, &key.token).await?;
    client.send(before_token).await?;
    let token = client.until(5, |packets| (packets.len() == 2).then(|| packets.to_vec())).await?;
    assert_eq!(token[1].0, Kind::CloseSend);
    assert!(RefreshResumeTokenResponse::decode(token[0].1.as_slice())?.token.starts_with("tnr_"));
    client.send(before_goodbye).await?;
    let told = client.updated(Some(agent), Update::Node).await?;
    assert!(told.node.is_some_and(|node| node.known.key.len() == 34));
    let heard = agent_side.updated(None, Update::Node).await?;
    let peer = Uuid::from_slice(&heard.id)?;

    client.send(goodbye).await?;
    client.until(1, |packets| packets.iter().any(|(kind, _)| *kind == Kind::Close).then_some(())).await?;
    client.send(after).await?;
    let metric = async |name: &str| stack.right().metric(name).await;
    assert_eq!(metric(r#"tailnet_sessions_begun_total{protocol="v2"}"#).await?, 1);
    assert_eq!(metric(r#"tailnet_sessions_ended_total{protocol="v2",end="1000"}"#).await?, 1);
    agent_side.updated(Some(peer), Update::Disconnected).await?;
    drop(agent_side);
    let lost = "SELECT status = 'lost' FROM tailnet.peers WHERE peer_id = $1";
    stack.operator.until("the agent is lost", lost, &[&agent]).await
}
