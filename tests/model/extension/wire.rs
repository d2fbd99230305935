//! What the extension says and what a proxy reads, as each other.
//!
//! The text of a node is its digest, a number.

use tailnet_proxy::{
    message::{Change, Update},
    state::local::RestoreState,
};
use tailnet_wire::{Digest, Ending, SessionId, TunnelEnd};
use uuid::Uuid;

use crate::{
    call::Call,
    event::{Binding, Event, Node, Partner, Session},
    peers::Peer,
};

/// The first of them: they keep the order of the peers.
const KEYS: u128 = 0x1000;

pub fn uuid(peer: Peer) -> Uuid {
    Uuid::from_u128(KEYS + u128::from(peer))
}

/// The peer of an id that is one of [`uuid`].
pub fn peer(id: Uuid) -> Peer {
    (id.as_u128() - KEYS) as Peer
}

pub fn session_id(session: Session) -> SessionId {
    SessionId { peer: uuid(session.peer), number: i64::from(session.number) }
}

/// The session of an id that is one of [`session_id`].
pub fn session(id: SessionId) -> Session {
    Session { peer: peer(id.peer), number: id.number as u8 }
}

pub fn text(node: Node) -> tailnet_wire::Node {
    tailnet_wire::Node::new(digest(node).to_string()).expect("a number is JSON")
}

/// The node of a text that is one of [`text`].
pub fn node(text: &tailnet_wire::Node) -> Node {
    let digest: i64 = text.as_str().parse().expect("all nodes are numbers");
    Node { session: (digest >> 8) as u8, version: digest as u8 }
}

/// An entry of a log, as the proxy reads it.
pub fn event(event: &Event) -> tailnet_wire::Event {
    use tailnet_wire::Event as Wire;
    match event {
        Event::Changed { peer, binding: new } => Wire::Changed { id: uuid(*peer), binding: binding(*new) },
        Event::Disconnected { peer } => Wire::Disconnected { id: uuid(*peer) },
        Event::Opened { src, dst, src_binding, dst_binding } => Wire::Opened {
            src: uuid(*src),
            src_binding: src_binding.map(binding),
            dsts: vec![TunnelEnd { id: uuid(*dst), binding: dst_binding.map(binding) }],
        },
        Event::Closed { src, dst } => Wire::Closed { src: uuid(*src), dsts: vec![uuid(*dst)] },
        Event::Ended(session) => {
            let SessionId { peer: id, number: session } = session_id(*session);
            Wire::Ended { id, session, why: Ending::Superseded }
        }
        Event::View { session, after, until, partners } => {
            let SessionId { peer: id, number: session } = session_id(*session);
            let partners = partners.iter().map(partner).collect();
            Wire::View { id, session, after: after.map(uuid), until: until.map(uuid), partners }
        }
        Event::Settled => Wire::Settled,
    }
}

/// What a peer is told: of whom, and what is known of it now.
pub fn known(update: &Update) -> (Peer, Option<Binding>) {
    let binding = match &update.change {
        Change::Node(text) => Some(Binding::Ok(node(text))),
        Change::Lost => Some(Binding::Lost),
        Change::Disconnected => None,
        Change::ReadyForHandshake => unreachable!("no handshakes here"),
    };
    (peer(update.id), binding)
}

/// The call that restores a session.
pub fn restore(state: RestoreState) -> Call {
    Call::Restore { node: state.node.as_ref().map(node), tunnels: state.tunnels.into_iter().map(peer).collect() }
}

fn partner(partner: &Partner) -> tailnet_wire::Partner {
    let Partner { peer, outbound, inbound, binding: known } = *partner;
    tailnet_wire::Partner { id: uuid(peer), outbound, inbound, binding: known.map(binding) }
}

fn binding(binding: Binding) -> tailnet_wire::Binding {
    match binding {
        Binding::Ok(node) => tailnet_wire::Binding::Ok { digest: Digest(digest(node)), node: text(node) },
        Binding::Lost => tailnet_wire::Binding::Lost,
    }
}

fn digest(node: Node) -> i64 {
    i64::from(node.session) << 8 | i64::from(node.version)
}
