//! The websocket of one peer, where there are few.

use anyhow::{Context, Result};
use tailnet_tools::websocket::SUBPROTOCOL;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{ClientRequestBuilder, Message, protocol::WebSocketConfig},
};
use uuid::Uuid;

use crate::common::node::SMALL;

pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Connects a peer to the proxy at this URL.
pub async fn connect(url: &str, token: &str) -> Result<Socket> {
    let request = ClientRequestBuilder::new(format!("{url}/v1/coordinate").parse()?)
        .with_header("Authorization", format!("Bearer {token}"))
        .with_sub_protocol(SUBPROTOCOL);
    let config = WebSocketConfig::default();
    let connected = connect_async_with_config(request, Some(config), true).await;
    let (socket, _) = connected.with_context(|| format!("cannot connect to {url}"))?;
    Ok(socket)
}

/// The frame with which a peer announces this version of its node.
pub fn announcement(id: Uuid, version: u64) -> Message {
    Message::text(format!("{{{}}}", update_self(id, version)))
}

/// The field `update_self` of a frame.
pub fn update_self(id: Uuid, version: u64) -> String {
    let mut text = r#""update_self":{"node":"#.to_owned();
    SMALL.write(&mut text, id, version);
    text + "}"
}
