//! TCP over IPv6 in user space.

use std::{
    net::Ipv6Addr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use smoltcp::{
    iface::{Config, Interface, SocketHandle, SocketSet},
    socket::tcp::{Socket, SocketBuffer},
    wire::{HardwareAddress, IpAddress, IpCidr},
};

use super::device::Device;

/// Several full windows fit into the receive buffer that the kernel gives a UDP socket.
const BUFFER: usize = 32 * 1024;

/// A connection whose other end is gone must not stay for ever.
const DEAD_AFTER: smoltcp::time::Duration = smoltcp::time::Duration::from_secs(30);

/// The ports that the kernel, too, gives to outgoing connections.
const EPHEMERAL_PORTS: std::ops::Range<u16> = 49_152..u16::MAX;

/// A TCP stack with one address.
pub struct TcpStack {
    device: Device,
    interface: Interface,
    sockets: SocketSet<'static>,
    started: Instant,
}

/// Names a connection, or a place that waits for one.
pub type Handle = SocketHandle;

impl TcpStack {
    /// A stack that answers at `address`.
    pub fn new(address: Ipv6Addr) -> Self {
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = rand::random();
        let mut device = Device::default();
        let mut interface = Interface::new(config, &mut device, smoltcp::time::Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            addresses.push(IpCidr::new(IpAddress::Ipv6(address), 128)).expect("the list is empty and has room for two");
        });
        // Everything goes into the tunnels, which choose by the destination: the gateway is never looked at.
        interface.routes_mut().add_default_ipv6_route(address).expect("the table is empty and has room for two");
        Self { device, interface, sockets: SocketSet::new(Vec::new()), started: Instant::now() }
    }

    /// Waits for one connection to `port`.
    ///
    /// # Errors
    /// When the port is 0.
    pub fn listen(&mut self, port: u16) -> Result<Handle> {
        let mut socket = new_socket();
        socket.listen(port).with_context(|| format!("cannot listen on TCP port {port}"))?;
        Ok(self.sockets.add(socket))
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// When the address is unspecified or the port is 0.
    pub fn connect(&mut self, to: Ipv6Addr, port: u16) -> Result<Handle> {
        let mut socket = new_socket();
        socket
            .connect(self.interface.context(), (IpAddress::Ipv6(to), port), rand::random_range(EPHEMERAL_PORTS))
            .with_context(|| format!("cannot connect to TCP port {port} of {to}"))?;
        Ok(self.sockets.add(socket))
    }

    /// The connection, to read, write and close.
    pub fn socket(&mut self, handle: Handle) -> &mut Socket<'static> {
        self.sockets.get_mut(handle)
    }

    /// Forgets a connection.
    pub fn remove(&mut self, handle: Handle) {
        self.sockets.remove(handle);
    }

    /// A packet that came out of a tunnel.
    pub(super) fn receive(&mut self, packet: Vec<u8>) {
        self.device.incoming.push_back(packet);
    }

    /// Works on what was received and on what is due.
    pub(super) fn poll(&mut self) {
        let now = self.now();
        self.interface.poll(now, &mut self.device, &mut self.sockets);
    }

    /// Packets to send.
    pub(super) fn take_outgoing(&mut self) -> impl Iterator<Item = Vec<u8>> {
        self.device.outgoing.drain(..)
    }

    /// How long the stack has nothing to do if nothing is received.
    pub(super) fn idle_time(&mut self) -> Option<Duration> {
        let now = self.now();
        self.interface.poll_delay(now, &self.sockets).map(Duration::from)
    }

    fn now(&self) -> smoltcp::time::Instant {
        let elapsed = self.started.elapsed().as_micros();
        smoltcp::time::Instant::from_micros(i64::try_from(elapsed).expect("no peer runs for 292,000 years"))
    }
}

fn new_socket() -> Socket<'static> {
    let mut socket = Socket::new(SocketBuffer::new(vec![0; BUFFER]), SocketBuffer::new(vec![0; BUFFER]));
    socket.set_timeout(Some(DEAD_AFTER));
    socket.set_keep_alive(Some(DEAD_AFTER / 3));
    socket
}
