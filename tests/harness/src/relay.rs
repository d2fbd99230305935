//! A TCP relay between a proxy and Postgres. It can delay, stall and cut connections, as networks do.

use std::{io, net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp},
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::sleep,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    Flows,
    /// Carries on each piece after this time.
    Delayed(Duration),
    /// Keeps and accepts connections, and carries nothing.
    Stalled,
    /// Resets connections, old and new.
    Cut,
}

#[derive(Debug, Clone, Copy)]
struct State {
    traffic: Traffic,
    to: SocketAddr,
}

/// Listens on a port of its own, and relays to one address. Ends when it is dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    state: watch::Sender<State>,
    task: JoinHandle<()>,
}

impl Relay {
    pub async fn start(to: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot bind a relay")?;
        let address = listener.local_addr()?;
        let (state, states) = watch::channel(State { traffic: Traffic::Flows, to });
        let task = tokio::spawn(async move {
            // Dropped with the relay, and its connections with it.
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => match accepted {
                        Ok((client, _)) => drop(connections.spawn(relay(client, states.clone()))),
                        Err(_) => sleep(Duration::from_millis(10)).await, // out of files, for example
                    },
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Ok(Self { address, state, task })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Treats all connections like this from now on.
    pub fn set(&self, traffic: Traffic) {
        self.state.send_modify(|state| state.traffic = traffic);
    }

    /// Sends new connections there from now on.
    pub fn aim(&self, to: SocketAddr) {
        self.state.send_modify(|state| state.to = to);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Relays one connection to its end. A refused server looks to the client like one that closes at once.
async fn relay(mut client: TcpStream, mut state: watch::Receiver<State>) {
    let mut cut = state.clone();
    let connecting = async {
        pass(&mut state).await?;
        let to = state.borrow().to;
        TcpStream::connect(to).await
    };
    // With a linger of zero, dropping resets: the other end learns of it at once.
    let Ok(mut server) = connecting.await else { return drop(client.set_zero_linger()) };
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let carried = tokio::select! {
        ended = async {
            tokio::try_join!(
                carry(from_client, to_server, state.clone()),
                carry(from_server, to_client, state.clone())
            )
        } => ended.is_ok(),
        _ = cut.wait_for(|state| state.traffic == Traffic::Cut) => false,
    };
    if !carried {
        let _ = (client.set_zero_linger(), server.set_zero_linger());
    }
}

async fn carry(
    mut from: tcp::ReadHalf<'_>,
    mut to: tcp::WriteHalf<'_>,
    mut state: watch::Receiver<State>,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let piece = from.read(&mut buffer).await?;
        pass(&mut state).await?;
        if piece == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..piece]).await?;
    }
}

/// Returns when the next piece may be carried on.
async fn pass(state: &mut watch::Receiver<State>) -> io::Result<()> {
    let traffic = state.wait_for(|state| state.traffic != Traffic::Stalled).await.map_err(io::Error::other)?.traffic;
    match traffic {
        Traffic::Cut => Err(io::ErrorKind::ConnectionReset.into()),
        Traffic::Delayed(time) => {
            sleep(time).await;
            Ok(())
        }
        Traffic::Flows | Traffic::Stalled => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::time::timeout;

    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    /// A relay to a server that sends back what it gets, and a connection through it.
    async fn echo() -> Result<(Relay, TcpStream)> {
        let server = TcpListener::bind("127.0.0.1:0").await?;
        let relay = Relay::start(server.local_addr()?).await?;
        tokio::spawn(async move {
            while let Ok((mut client, _)) = server.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = client.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        let stream = TcpStream::connect(relay.address()).await?;
        Ok((relay, stream))
    }

    async fn exchange(stream: &mut TcpStream, text: &[u8]) -> io::Result<Vec<u8>> {
        stream.write_all(text).await?;
        let mut answer = vec![0; text.len()];
        timeout(LONG, stream.read_exact(&mut answer)).await.map_err(io::Error::other)??;
        Ok(answer)
    }

    #[tokio::test]
    async fn stalls_keep_what_was_sent_and_cuts_reset() -> Result<()> {
        let (relay, mut stream) = echo().await?;
        assert_eq!(exchange(&mut stream, b"one").await?, b"one");
        relay.set(Traffic::Delayed(Duration::from_millis(20)));
        assert_eq!(exchange(&mut stream, b"two").await?, b"two");

        relay.set(Traffic::Stalled);
        stream.write_all(b"three").await?;
        // Also a new connection is accepted, and gets nothing.
        let mut new = TcpStream::connect(relay.address()).await?;
        new.write_all(b"x").await?;
        let mut answer = [0; 5];
        assert!(timeout(Duration::from_millis(100), stream.read(&mut answer)).await.is_err());
        assert!(new.read(&mut [0]).now_or_never().is_none());
        relay.set(Traffic::Flows);
        timeout(LONG, stream.read_exact(&mut answer)).await??;
        assert_eq!(&answer, b"three");
        timeout(LONG, new.read_exact(&mut [0])).await??;

        relay.set(Traffic::Cut);
        let ended = timeout(LONG, stream.read(&mut answer)).await?;
        assert_eq!(ended.expect_err("a reset").kind(), io::ErrorKind::ConnectionReset);
        let mut refused = TcpStream::connect(relay.address()).await?;
        assert!(exchange(&mut refused, b"four").await.is_err());
        relay.set(Traffic::Flows);
        let mut healed = TcpStream::connect(relay.address()).await?;
        assert_eq!(exchange(&mut healed, b"five").await?, b"five");
        Ok(())
    }
}
