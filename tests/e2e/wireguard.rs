//! The parts of `tailnet-peer`: real WireGuard endpoints over the loopback interface, without a coordinator.

use std::{net::Ipv6Addr, time::Duration};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tailnet_tools::peer::{
    announcement::{self, Announcement},
    echo_client::EchoClient,
    echo_server::EchoServer,
    endpoint::Endpoint,
    identity,
};
use uuid::Uuid;

const DEADLINE: Duration = Duration::from_secs(30);
const BYTES: u64 = 1 << 20;

struct Side {
    id: Uuid,
    address: Ipv6Addr,
    endpoint: Endpoint,
}

impl Side {
    async fn new() -> Result<Self> {
        let id = Uuid::new_v4();
        let address = identity::address(id);
        Ok(Self { id, address, endpoint: Endpoint::bind(address).await? })
    }

    fn node(&self) -> Value {
        announcement::to_node(self.id, self.address, self.endpoint.public(), self.endpoint.local())
    }

    fn learn(&mut self, id: Uuid, node: &Value) -> Result<()> {
        self.endpoint.tunnels.set(id, Announcement::from_node(node)?);
        Ok(())
    }
}

/// Turns the agent until the client's part is done.
async fn beside(agent: &mut Side, client: impl Future<Output = Result<()>>) -> Result<()> {
    let mut echo = EchoServer::new(&mut agent.endpoint.tcp)?;
    let serve = async {
        loop {
            echo.advance(&mut agent.endpoint.tcp)?;
            agent.endpoint.turn().await?;
        }
    };
    tokio::select! {
        done = client => done,
        failed = serve => failed,
        () = tokio::time::sleep(DEADLINE) => bail!("not done after {DEADLINE:?}"),
    }
}

async fn shake_hands(client: &mut Side, agent: Uuid) -> Result<()> {
    client.endpoint.tunnels.initiate(agent)?;
    while client.endpoint.tunnels.handshake(agent).is_none() {
        client.endpoint.turn().await?;
    }
    Ok(())
}

async fn echo(client: &mut Side, to: Ipv6Addr, seed: u64) -> Result<()> {
    let mut echo = EchoClient::connect(&mut client.endpoint.tcp, to, seed, BYTES)?;
    while !echo.advance(&mut client.endpoint.tcp).with_context(|| format!("after {} bytes", echo.received()))? {
        client.endpoint.turn().await?;
    }
    assert_eq!((echo.sent(), echo.received()), (BYTES, BYTES));
    Ok(())
}

#[tokio::test]
async fn several_clients_echo_at_once() -> Result<()> {
    let mut agent = Side::new().await?;
    let (agent_id, address, agent_node) = (agent.id, agent.address, agent.node());
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = Side::new().await?;
        client.learn(agent_id, &agent_node)?;
        agent.learn(client.id, &client.node())?;
        clients.push(client);
    }
    let all = (0..).zip(&mut clients).map(async |(seed, client)| {
        shake_hands(client, agent_id).await?;
        echo(client, address, seed).await
    });
    beside(&mut agent, async { futures_util::future::try_join_all(all).await.map(|_| ()) }).await
}

#[tokio::test]
async fn an_echo_that_is_ended_early_sends_no_more_and_gets_all_back() -> Result<()> {
    let (mut agent, mut client) = (Side::new().await?, Side::new().await?);
    let (agent_id, address) = (agent.id, agent.address);
    client.learn(agent_id, &agent.node())?;
    agent.learn(client.id, &client.node())?;
    let run = async {
        shake_hands(&mut client, agent_id).await?;
        let mut echo = EchoClient::open(&mut client.endpoint.tcp, address, 7)?;
        let mut sent_at_the_end = None;
        loop {
            echo.supply(BYTES);
            if echo.received() > 0 && sent_at_the_end.is_none() {
                echo.end();
                sent_at_the_end = Some(echo.sent());
            }
            if echo.advance(&mut client.endpoint.tcp)? {
                break;
            }
            client.endpoint.turn().await?;
        }
        assert!(echo.sent() < BYTES, "it was ended long before");
        assert_eq!((Some(echo.sent()), echo.received()), (sent_at_the_end, echo.sent()));
        Ok(())
    };
    beside(&mut agent, run).await
}

#[tokio::test]
async fn a_peer_that_comes_back_with_a_new_key_is_reached_again() -> Result<()> {
    let mut client = Side::new().await?;
    let id = Uuid::new_v4();
    let address = identity::address(id);
    for seed in 0..2 {
        let mut agent = Side { id, address, endpoint: Endpoint::bind(address).await? };
        agent.learn(client.id, &client.node())?;
        client.learn(id, &agent.node())?;
        let run = async {
            shake_hands(&mut client, id).await?;
            echo(&mut client, address, seed).await
        };
        beside(&mut agent, run).await?;
    }
    Ok(())
}

#[tokio::test]
async fn packets_from_an_address_that_was_not_announced_are_dropped() -> Result<()> {
    let (mut agent, mut honest, mut forger) = (Side::new().await?, Side::new().await?, Side::new().await?);
    let (agent_id, address) = (agent.id, agent.address);
    for client in [&mut honest, &mut forger] {
        client.learn(agent_id, &agent.node())?;
    }
    agent.learn(honest.id, &honest.node())?;
    // To the agent, the forger's address is another than the one it sends from.
    let mut node = forger.node();
    node["allowed_ips"] = json!([format!("{}/128", identity::address(Uuid::new_v4()))]);
    agent.learn(forger.id, &node)?;
    let run = async {
        shake_hands(&mut forger, agent_id).await?;
        shake_hands(&mut honest, agent_id).await?;
        let mut forged = EchoClient::connect(&mut forger.endpoint.tcp, address, 1, BYTES)?;
        // The forger's session stands and it sends all the while, from before the honest echo until after it.
        let forge = async {
            loop {
                forged.advance(&mut forger.endpoint.tcp)?;
                forger.endpoint.turn().await?;
            }
        };
        tokio::select! {
            failed = forge => failed,
            done = echo(&mut honest, address, 2) => done,
        }?;
        assert_eq!((forged.sent(), forged.received()), (0, 0), "no connection was answered");
        Ok(())
    };
    beside(&mut agent, run).await
}
