//! The connection of one peer: it reads into memory that all of them share, and keeps what is incomplete only.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
};

use mio::{Interest, Registry, Token, net::TcpStream};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

/// Addresses that the peers of a process come from.
const SOURCES: usize = 64;

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// There is no connection.
    Closed,
    /// TCP is being opened.
    Connecting,
    /// The websocket is being opened.
    Upgrading,
    Open,
}

/// The connection of one peer.
#[derive(Debug)]
pub struct Socket {
    pub stage: Stage,
    stream: Option<TcpStream>,
    /// The beginning of what is not all here yet.
    pub partial: Vec<u8>,
    /// What the kernel would not take yet.
    unsent: Vec<u8>,
}

impl Socket {
    /// One that is not opened.
    pub fn new() -> Self {
        Self { stage: Stage::Closed, stream: None, partial: Vec::new(), unsent: Vec::new() }
    }

    /// Begins to open it.
    ///
    /// Peers come from many addresses, as they do elsewhere. From one, the kernel looks at thousands of ports for each of
    /// the last of 16,000 connections to find a free one, which cost more than all else that this process does.
    pub fn connect(&mut self, address: SocketAddr, registry: &Registry, token: Token) -> io::Result<()> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        let [.., high, low] = std::process::id().to_be_bytes();
        let place = u8::try_from(token.0 % SOURCES).expect("there are fewer") + 1;
        bind(&socket, &SocketAddrV4::new(Ipv4Addr::new(127, high, low, place), 0))?;
        match connect(&socket, &address) {
            Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        let mut stream = TcpStream::from_std(socket.into());
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        *self = Self { stage: Stage::Connecting, stream: Some(stream), ..Self::new() };
        Ok(())
    }

    /// Whether TCP is open.
    pub fn is_connected(&mut self) -> io::Result<bool> {
        let Some(stream) = &self.stream else { return Ok(false) };
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        match stream.peer_addr() {
            Ok(_) => {
                // A frame must not wait for the answer to the one before.
                stream.set_nodelay(true)?;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sends this, now or when the kernel takes it.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = if self.unsent.is_empty() { self.write(bytes)? } else { 0 };
        self.unsent.extend_from_slice(&bytes[written..]);
        Ok(())
    }

    /// Sends what could not be sent before.
    pub fn flush(&mut self) -> io::Result<()> {
        if !self.unsent.is_empty() {
            let unsent = std::mem::take(&mut self.unsent);
            let written = self.write(&unsent)?;
            self.unsent.extend_from_slice(&unsent[written..]);
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = 0;
        while written < bytes.len() {
            match self.stream()?.write(&bytes[written..]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }

    /// Reads what is there; None: nothing any more.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match self.stream()?.read(buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => return Ok(Some(count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Closes it, however far it is.
    pub fn close(&mut self) {
        *self = Self::new();
    }

    fn stream(&mut self) -> io::Result<&mut TcpStream> {
        self.stream.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}
