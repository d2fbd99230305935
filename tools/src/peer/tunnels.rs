//! The WireGuard sessions of one peer.

use std::{
    collections::{HashMap, VecDeque},
    net::{Ipv6Addr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use boringtun::noise::{Packet, Tunn, TunnResult, handshake::parse_handshake_anon};
use uuid::Uuid;

use super::{announcement::Announcement, key::KeyPair};

/// Larger than any datagram.
const BUFFER: usize = 65_536;

/// One session for each other peer, told apart by key and by index as in the kernel's WireGuard.
pub struct Tunnels {
    keys: KeyPair,
    tunnels: HashMap<Uuid, Tunnel>,
    next_index: u32,
    outgoing: VecDeque<(SocketAddr, Vec<u8>)>,
    buffer: Vec<u8>,
}

struct Tunnel {
    announced: Announcement,
    index: u32,
    session: Tunn,
    initiated: Option<Instant>,
    handshake: Option<Duration>,
}

impl Tunnels {
    /// No tunnels yet.
    pub fn new(keys: KeyPair) -> Self {
        Self { keys, tunnels: HashMap::new(), next_index: 0, outgoing: VecDeque::new(), buffer: vec![0; BUFFER] }
    }

    /// Makes or updates the tunnel to a peer. The session stands as long as the peer keeps its key.
    pub fn set(&mut self, id: Uuid, announced: Announcement) {
        if let Some(tunnel) = self.tunnels.get_mut(&id).filter(|tunnel| tunnel.announced.key == announced.key) {
            tunnel.announced = announced;
            return;
        }
        // Fits the 24 bits that WireGuard leaves for it beside boringtun's 8 for the session.
        let index = self.next_index;
        self.next_index = (self.next_index + 1) & 0x00ff_ffff;
        let session = Tunn::new(self.keys.secret.clone(), announced.key, None, None, index, None);
        self.tunnels.insert(id, Tunnel { announced, index, session, initiated: None, handshake: None });
    }

    /// Forgets the tunnel to a peer.
    pub fn remove(&mut self, id: Uuid) {
        self.tunnels.remove(&id);
    }

    /// Asks a peer for a session.
    ///
    /// # Errors
    /// When there is no tunnel to it.
    pub fn initiate(&mut self, id: Uuid) -> Result<()> {
        let tunnel = self.tunnels.get_mut(&id).with_context(|| format!("there is no tunnel to {id}"))?;
        tunnel.initiated.get_or_insert_with(Instant::now);
        let result = tunnel.session.format_handshake_initiation(&mut self.buffer, false);
        take(result, &tunnel.announced, &mut self.outgoing);
        Ok(())
    }

    /// How long the handshake took that [`Self::initiate`] began; None: it is not done.
    pub fn handshake(&self, id: Uuid) -> Option<Duration> {
        self.tunnels.get(&id)?.handshake
    }

    /// Takes a datagram, and returns the IP packet that was in it. None: there was none, or it is nothing of ours. Answers go where
    /// the last good datagram came from, as in all of WireGuard: what the peer announced is where to begin.
    pub(super) fn receive(&mut self, datagram: &[u8], from: SocketAddr) -> Option<Vec<u8>> {
        let id = self.owner(datagram)?;
        let Tunnel { announced, session, initiated, handshake, .. } = self.tunnels.get_mut(&id)?;
        let mut packet = None;
        let mut datagram = datagram;
        loop {
            let result = session.decapsulate(Some(announced.endpoint.ip()), datagram, &mut self.buffer);
            let again = matches!(result, TunnResult::WriteToNetwork(_));
            if !matches!(result, TunnResult::Err(_)) {
                announced.endpoint = from;
            }
            packet = take(result, announced, &mut self.outgoing).or(packet);
            if !again {
                break;
            }
            // After a datagram of its own, boringtun may have more: an empty one asks for it.
            datagram = &[];
        }
        if handshake.is_none() && session.time_since_last_handshake().is_some() {
            *handshake = initiated.map(|at| at.elapsed());
        }
        packet
    }

    /// Sends an IP packet to the peer that its destination belongs to. Without one it is dropped, as a router would.
    pub(super) fn send(&mut self, packet: &[u8]) {
        let Some(destination) = address(packet, 24) else { return };
        if let Some(tunnel) = self.tunnels.values_mut().find(|tunnel| tunnel.announced.allows(destination)) {
            let result = tunnel.session.encapsulate(packet, &mut self.buffer);
            take(result, &tunnel.announced, &mut self.outgoing);
        }
    }

    /// Retransmissions, keepalives and new keys that are due.
    pub(super) fn tick(&mut self) {
        for tunnel in self.tunnels.values_mut() {
            let result = tunnel.session.update_timers(&mut self.buffer);
            take(result, &tunnel.announced, &mut self.outgoing);
        }
    }

    /// Datagrams to send.
    pub(super) fn take_outgoing(&mut self) -> impl Iterator<Item = (SocketAddr, Vec<u8>)> {
        self.outgoing.drain(..)
    }

    /// Whose datagram it is: an initiation names the sender's key, everything else our index.
    fn owner(&self, datagram: &[u8]) -> Option<Uuid> {
        let receiver = match Tunn::parse_incoming_packet(datagram).ok()? {
            Packet::HandshakeInit(init) => {
                let half = parse_handshake_anon(&self.keys.secret, &self.keys.public, &init).ok()?;
                let key = half.peer_static_public;
                return self.find(|tunnel| *tunnel.announced.key.as_bytes() == key);
            }
            Packet::HandshakeResponse(packet) => packet.receiver_idx,
            Packet::PacketCookieReply(packet) => packet.receiver_idx,
            Packet::PacketData(packet) => packet.receiver_idx,
        };
        self.find(|tunnel| tunnel.index == receiver >> 8)
    }

    fn find(&self, is: impl Fn(&Tunnel) -> bool) -> Option<Uuid> {
        self.tunnels.iter().find_map(|(&id, tunnel)| is(tunnel).then_some(id))
    }
}

/// Queues what is for the network, and returns what is for us, if the peer may send it. Errors are what a hostile or a
/// late datagram causes: dropped, like everywhere in WireGuard.
fn take(
    result: TunnResult<'_>,
    announced: &Announcement,
    outgoing: &mut VecDeque<(SocketAddr, Vec<u8>)>,
) -> Option<Vec<u8>> {
    match result {
        TunnResult::WriteToNetwork(datagram) => {
            outgoing.push_back((announced.endpoint, datagram.to_vec()));
            None
        }
        TunnResult::WriteToTunnelV6(packet, source) => announced.allows(source).then(|| packet.to_vec()),
        TunnResult::WriteToTunnelV4(..) | TunnResult::Done | TunnResult::Err(_) => None,
    }
}

fn address(packet: &[u8], at: usize) -> Option<Ipv6Addr> {
    let (bytes, _) = packet.get(at..)?.split_first_chunk::<16>()?;
    Some(Ipv6Addr::from(*bytes))
}
