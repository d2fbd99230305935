//! A hub with a tunnel to nearly every peer loses its websocket, and comes back.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tailnet_tools::message::Kind;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

use crate::{
    common::node::SMALL,
    peers::{
        clock::Moment,
        control,
        fleet::{self, PROCESSES},
        options::Scale,
        websocket::{Socket, announcement, connect},
        world::{NETWORK, World},
    },
};

/// How often it comes back.
const RETURNS: u64 = 3;

/// Nothing takes so long, unless it will never be done.
const DEADLINE: Duration = Duration::from_secs(120);

#[derive(Debug, Serialize)]
pub struct Hub {
    pub tunnels: usize,
    /// Until all tunnels were open, and all partners known, at its first coming.
    pub opening_seconds: f64,
    /// From its TCP connect until it was told the nodes of all partners, at each return.
    pub view_seconds: Vec<f64>,
    /// The same until every partner was told that it is back.
    pub partners_seconds: Vec<f64>,
}

/// The nodes that it must be told: versions by peer.
type Truth = HashMap<Uuid, u64>;

/// A frame, with nodes as they came.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Frame<'a> {
    #[serde(borrow)]
    peer_updates: Vec<Update<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Update<'a> {
    id: Uuid,
    kind: Kind,
    #[serde(borrow, default)]
    node: Option<&'a RawValue>,
    #[serde(borrow, default)]
    reason: Option<Cow<'a, str>>,
}

/// Connects it to the clients' proxy, opens its tunnels, and lets it come back again and again.
/// Fails when not every view becomes right.
pub async fn run(world: &mut World, scale: &Scale) -> Result<Hub> {
    let before = world.fleet.totals().await?;
    let created = "SELECT peer_id, token FROM tailnet.create_peer($1, 'hub', 'hub')";
    let row = world.meter.sql.query_one(created, &[&NETWORK]).await.context("cannot create the hub")?;
    let (id, token): (Uuid, String) = (row.get(0), row.get(1));
    let url = world.proxies.last().context("there is no proxy")?.url();
    let peers = scale.hub_tunnels / PROCESSES;
    let truth = truth(world, peers).await?;
    let expected = |version| control::Hub { id, peers, version };

    world.fleet.expect(expected(1)).await?;
    let begin = Moment::now();
    let mut socket = connect(&url, &token).await?;
    open(&mut socket, id, &truth).await?;
    let opening_seconds = world.fleet.until_told_of_hub().await?.max(Moment::now()).since(begin).as_secs_f64();

    let mut hub = Hub { tunnels: truth.len(), opening_seconds, view_seconds: Vec::new(), partners_seconds: Vec::new() };
    for version in 2..2 + RETURNS {
        world.fleet.expect(expected(0)).await?;
        drop(socket);
        world.fleet.until_told_of_hub().await?;
        world.fleet.expect(expected(version)).await?;
        let begin = Moment::now();
        socket = connect(&url, &token).await?;
        socket.send(announcement(id, version)).await?;
        read_view(&mut socket, &truth).await?;
        hub.view_seconds.push(Moment::now().since(begin).as_secs_f64());
        hub.partners_seconds.push(world.fleet.until_told_of_hub().await?.since(begin).as_secs_f64());
    }
    let totals = world.fleet.totals().await?;
    totals.expect_all_true()?;
    ensure!(totals.closed == before.closed, "{} websockets ended meanwhile", totals.closed - before.closed);
    Ok(hub)
}

/// The first peers of each load process, with what they announced.
async fn truth(world: &mut World, peers: usize) -> Result<Truth> {
    let said = world.fleet.recite().await?;
    let shares = fleet::shares(&world.pairs).zip(said);
    let truth = shares.flat_map(|(pairs, said)| pairs.iter().flatten().map(|peer| peer.id).zip(said).take(peers));
    Ok(truth.collect())
}

/// Its first coming. It reads while it writes: the proxy reads no further while it is not read itself.
async fn open(socket: &mut Socket, id: Uuid, truth: &Truth) -> Result<()> {
    let (mut sink, mut stream) = socket.split();
    let asking = async {
        sink.feed(announcement(id, 1)).await?;
        for partner in truth.keys() {
            sink.feed(Message::text(format!(r#"{{"add_tunnel":{{"id":"{partner}"}}}}"#))).await?;
        }
        sink.flush().await.context("the hub's websocket has ended")
    };
    let told = tell_all(&mut stream, truth);
    timeout(DEADLINE, async { tokio::try_join!(asking, told) })
        .await
        .context("the hub's tunnels are not all open")??;
    Ok(())
}

async fn read_view(socket: &mut Socket, truth: &Truth) -> Result<()> {
    timeout(DEADLINE, tell_all(socket, truth)).await.context("the hub's view is not complete")?
}

/// Returns when it was told every partner's node, and checks each.
async fn tell_all(
    frames: &mut (impl futures_util::Stream<Item = Result<Message, tokio_tungstenite::tungstenite::Error>> + Unpin),
    truth: &Truth,
) -> Result<()> {
    let mut told = HashSet::with_capacity(truth.len());
    while told.len() < truth.len() {
        match frames.next().await.context("the hub's websocket has ended")?? {
            Message::Text(text) => book(&text, truth, &mut told)?,
            Message::Ping(_) => {}
            other => bail!("the hub was sent {other:?}"),
        }
    }
    Ok(())
}

fn book(text: &str, truth: &Truth, told: &mut HashSet<Uuid>) -> Result<()> {
    let frame: Frame<'_> = serde_json::from_str(text).with_context(|| format!("the hub was sent {text:.300}"))?;
    let mut expected = String::new();
    for Update { id, kind, node, reason } in frame.peer_updates {
        let version = truth.get(&id).with_context(|| format!("the hub was told of {id}, which is a stranger"))?;
        ensure!(kind == Kind::Node, "the hub was told {kind:?} of {id}: {reason:?}");
        expected.clear();
        SMALL.write(&mut expected, id, *version);
        ensure!(node.is_some_and(|node| node.get() == expected), "the hub was told {node:?}, expected {expected}");
        ensure!(told.insert(id), "the hub was told the node of {id} twice");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_partner_must_be_told_once_and_as_it_is() {
        let id = Uuid::from_u128(1);
        let truth = Truth::from([(id, 3)]);
        let frame = |id: Uuid, version| {
            let mut node = String::new();
            SMALL.write(&mut node, id, version);
            format!(r#"{{"peer_updates":[{{"id":"{id}","kind":"NODE","node":{node}}}]}}"#)
        };
        let mut told = HashSet::new();
        book(&frame(id, 3), &truth, &mut told).expect("the truth");
        assert!(told.contains(&id));
        let lost = format!(r#"{{"peer_updates":[{{"id":"{id}","kind":"LOST","reason":"r"}}]}}"#);
        for (text, named) in [
            (frame(id, 3), "twice"),
            (frame(id, 2), "expected"),
            (frame(Uuid::from_u128(2), 3), "stranger"),
            (lost, "Lost"),
            (r#"{"error":"no"}"#.to_owned(), "was sent"),
        ] {
            let error = format!("{:#}", book(&text, &truth, &mut told).expect_err("not the truth"));
            assert!(error.contains(named), "{error}");
        }
    }
}
