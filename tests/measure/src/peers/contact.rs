//! Two peers on two proxies that meet for the first time, while all others are at rest.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

use crate::{
    common::{
        network::{self, Credentials},
        node::SMALL,
    },
    peers::{
        options::Scale,
        updates::Quantiles,
        websocket::{Socket, announcement, connect, update_self},
        world::World,
    },
};

/// Nothing takes so long, unless it will never be done.
const DEADLINE: Duration = Duration::from_secs(30);

/// From the write of the client's first frame, with its node and its tunnel, until both peers have read the node of the
/// other. The websockets of both are open then, and the node of the agent is in the database.
pub async fn run(world: &World, scale: &Scale, round: usize) -> Result<Quantiles> {
    let name = format!("contact {round}");
    let (_, peers) = network::create(&world.meter.sql, &name, scale.contacts, &["agent", "client"]).await?;
    let mut micros = Vec::with_capacity(scale.contacts);
    for [agent, client] in peers.as_chunks().0 {
        let met =
            timeout(DEADLINE, meet(world, agent, client)).await.context("two peers did not hear of each other")??;
        micros.push(u32::try_from(met.as_micros()).unwrap_or(u32::MAX));
    }
    Ok(Quantiles::of(micros))
}

async fn meet(world: &World, agent: &Credentials, client: &Credentials) -> Result<Duration> {
    let urls = [world.proxies.first(), world.proxies.last()].map(|proxy| proxy.map(|proxy| proxy.url()));
    let [Some(agents), Some(clients)] = urls else { bail!("there is no proxy") };
    let mut of_agent = connect(&agents, &agent.token).await?;
    of_agent.send(announcement(agent.id, 1)).await?;
    let mut of_client = connect(&clients, &client.token).await?;
    let known = "SELECT EXISTS (SELECT FROM tailnet.peers WHERE peer_id = $1 AND node IS NOT NULL)";
    while !world.meter.sql.query_one(known, &[&agent.id]).await?.get::<_, bool>(0) {}
    let frame = format!(r#"{{{},"add_tunnel":{{"id":"{}"}}}}"#, update_self(client.id, 1), agent.id);
    let begin = Instant::now();
    of_client.send(Message::text(frame)).await?;
    tokio::try_join!(told(&mut of_client, agent.id), told(&mut of_agent, client.id))?;
    let took = begin.elapsed();
    of_client.close(None).await?;
    of_agent.close(None).await?;
    Ok(took)
}

/// Waits until a peer has read the node of its partner.
async fn told(socket: &mut Socket, partner: Uuid) -> Result<()> {
    let mut expected = String::new();
    SMALL.write(&mut expected, partner, 1);
    loop {
        match socket.next().await.context("a websocket has ended")?? {
            Message::Text(text) if text.contains(&expected) => return Ok(()),
            Message::Text(_) | Message::Ping(_) => {}
            other => bail!("a peer was sent {other:?}"),
        }
    }
}
