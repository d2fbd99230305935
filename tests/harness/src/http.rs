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
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("the answer has no status")?;
    Ok((status, body))
}

/// The same, with the whole head.
pub async fn answer(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Result<(String, String)> {
    let answer = async {
        let mut request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n");
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += "\r\n";
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = answer.await.with_context(|| format!("GET http://{address}{path} failed"))?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer has no end of its headers")?;
    Ok((head.to_owned(), body.to_owned()))
}
