//! A load process: holds the websockets of many agents, and answers their pings.

use std::{
    io::{BufRead, stdin},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use futures_util::{StreamExt, future::try_join_all};
use tailnet_tools::websocket::SUBPROTOCOL;
use tokio::{net::TcpStream, sync::Semaphore, task::JoinSet, time::sleep};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{ClientRequestBuilder, http::Uri, protocol::WebSocketConfig},
};

/// What the process says when all agents are connected.
pub const CONNECTED: &str = "connected";

/// Connects in flight.
const AT_ONCE: usize = 100;

/// A proxy that is busy refuses; tried again this often, a little later each time.
const TRIES: u32 = 20;

/// The default is 128 KiB a websocket.
const READ_BUFFER: usize = 1 << 10;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Connects an agent for each token on stdin to the proxy at `url`, and holds them until one of them is cut off.
///
/// # Errors
/// When an agent cannot be connected, and when one is cut off.
pub async fn hold(url: &str) -> Result<()> {
    let tokens = stdin().lock().lines().collect::<Result<Vec<_>, _>>().context("cannot read the tokens")?;
    let uri: Uri = format!("{url}/v1/coordinate").parse().context("the URL is none")?;
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let connects = tokens.iter().map(async |token| {
        let _turn = turns.acquire().await.context("the semaphore is closed")?;
        connect(&uri, token).await
    });
    let sockets = try_join_all(connects).await?;
    let mut held = JoinSet::new();
    for mut socket in sockets {
        // Tungstenite answers pings while it is read.
        held.spawn(async move { while let Some(Ok(_)) = socket.next().await {} });
    }
    println!("{CONNECTED}");
    held.join_next().await;
    Err(anyhow!("an agent was cut off"))
}

async fn connect(uri: &Uri, token: &str) -> Result<Socket> {
    let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER);
    let mut attempt = 0;
    loop {
        let request = ClientRequestBuilder::new(uri.clone())
            .with_header("Authorization", format!("Bearer {token}"))
            .with_sub_protocol(SUBPROTOCOL);
        match connect_async_with_config(request, Some(config), true).await {
            Ok((socket, _)) => return Ok(socket),
            Err(error) if attempt == TRIES => return Err(error).context("cannot connect an agent"),
            Err(_) => attempt += 1,
        }
        sleep(Duration::from_millis(100) * attempt).await;
    }
}
