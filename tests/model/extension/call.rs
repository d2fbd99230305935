//! What a coordinator asks of the extension for one session.

use crate::{
    event::Node,
    peers::{Peer, Peers},
};

/// One function of the extension, with what the proxy read when it sent the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    /// `attach_peers`.
    Attach,
    /// `bind_peers` with the latest node.
    Bind(Node),
    /// `restore_peers` with the latest node (None: the session announced none), and those to whom it has tunnels.
    Restore { node: Option<Node>, tunnels: Peers },
    /// `lose_peers`.
    Lose,
    /// `disconnect_peers`.
    Disconnect,
    /// `open_tunnels`.
    Open(Peer),
    /// `close_tunnels`.
    Close(Peer),
    /// `view_peers`: the page behind this key.
    Page(Peer),
}
