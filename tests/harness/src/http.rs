//! As much HTTP as a probe needs.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Status and body of `GET path`, with these headers. HTTP/1.0, so that the body ends with the connection.
pub async fn get(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Result<(u16, String)> {
    let (head, body) = answer(address, path, headers).await?;
    Ok((status(&head)?, body))
}

/// The same of `POST path` with this body.
pub async fn post(address: SocketAddr, path: &str, headers: &[(&str, &str)], body: &str) -> Result<(u16, String)> {
    let (head, body) = exchange("POST", address, path, headers, body).await?;
    Ok((status(&head)?, body))
}

/// The whole head, and the body, of `GET path`.
pub async fn answer(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Result<(String, String)> {
    exchange("GET", address, path, headers, "").await
}

fn status(head: &str) -> Result<u16> {
    head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("the answer has no status")
}

async fn exchange(
    method: &str,
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<(String, String)> {
    let answer = async {
        let length = body.len();
        let mut request = format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {length}\r\n");
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += "\r\n";
        request += body;
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = answer.await.with_context(|| format!("{method} http://{address}{path} failed"))?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer has no end of its headers")?;
    Ok((head.to_owned(), body.to_owned()))
}
