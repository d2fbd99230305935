//! One end of WireGuard: a UDP socket, the sessions behind it, and a TCP stack on top of them.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use boringtun::x25519::PublicKey;
use tokio::net::UdpSocket;

use super::{key::KeyPair, tcp::TcpStack, tunnels::Tunnels};

/// As often as WireGuard's timers are looked at; they count in seconds.
const TICK: Duration = Duration::from_millis(100);

/// Datagrams taken before the TCP stack gets its turn: half a window, so that the other end does not run dry.
const BURST: usize = 16;

/// Does nothing by itself: its owner calls [`Self::turn`] again and again.
pub struct Endpoint {
    /// The TCP stack on top.
    pub tcp: TcpStack,
    /// The WireGuard sessions.
    pub tunnels: Tunnels,
    socket: UdpSocket,
    local: SocketAddr,
    public: PublicKey,
    ticked: Instant,
    buffer: Vec<u8>,
}

impl Endpoint {
    /// Binds a UDP socket on the loopback interface; the TCP stack answers at `address`.
    ///
    /// # Errors
    /// When the socket cannot be bound.
    pub async fn bind(address: Ipv6Addr) -> Result<Self> {
        let keys = KeyPair::generate();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.context("cannot bind a UDP socket")?;
        Ok(Self {
            tcp: TcpStack::new(address),
            local: socket.local_addr().context("the UDP socket has no address")?,
            socket,
            public: keys.public,
            tunnels: Tunnels::new(keys),
            ticked: Instant::now(),
            buffer: vec![0; 65_536],
        })
    }

    /// Where others reach the UDP socket.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The key to announce.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Sends what is due, and waits until something came in or time passed. May be cancelled.
    ///
    /// # Errors
    /// When the UDP socket fails.
    pub async fn turn(&mut self) -> Result<()> {
        if self.ticked.elapsed() >= TICK {
            self.ticked = Instant::now();
            self.tunnels.tick();
        }
        self.tcp.poll();
        for packet in self.tcp.take_outgoing() {
            self.tunnels.send(&packet);
        }
        // A fresh socket is not known to be writable, and would lose the first datagram.
        self.socket.writable().await.context("the UDP socket failed")?;
        for (to, datagram) in self.tunnels.take_outgoing() {
            match self.socket.try_send_to(&datagram, to) {
                // A full send buffer loses a datagram, as any network may: TCP sends it again.
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).with_context(|| format!("cannot send a datagram to {to}")),
            }
        }
        let idle = self.tcp.idle_time().map_or(TICK, |idle| idle.min(TICK));
        tokio::select! {
            ready = self.socket.readable() => ready.context("the UDP socket failed")?,
            () = tokio::time::sleep(idle) => return Ok(()),
        }
        for _ in 0..BURST {
            match self.socket.try_recv_from(&mut self.buffer) {
                Ok((len, from)) => {
                    if let Some(packet) = self.tunnels.receive(&self.buffer[..len], from) {
                        self.tcp.receive(packet);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("cannot receive a datagram"),
            }
        }
        // Now, so that the owner finds what came in.
        self.tcp.poll();
        Ok(())
    }
}
