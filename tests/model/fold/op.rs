//! What can happen, in any order.

use tailnet_model::peers::Peer;

/// What happens next. Numbers choose among what is there.
#[derive(Debug, Clone)]
pub enum Op {
    /// A token is checked.
    Connect { peer: Peer, proxy: usize },
    /// The websocket opens.
    Join { which: usize },
    /// A peer announces a node.
    Announce { socket: usize, node: u8 },
    /// It opens or closes a tunnel.
    Tunnel { socket: usize, dst: Peer, open: bool },
    /// It says goodbye.
    Disconnect { socket: usize },
    /// Its websocket ends without one.
    Break { socket: usize },
    /// A socket writes what it has.
    Write { socket: usize },
    /// A worker takes a batch.
    Take { proxy: usize, worker: usize, limit: usize },
    /// What a worker has taken is committed.
    Commit { which: usize },
    /// It fails, and can be tried again.
    Fail { which: usize },
    /// It is committed, but nobody learns so.
    CommitAndCut { which: usize },
    /// The proxy hears so many messages of its log.
    Deliver { proxy: usize, messages: usize },
    /// The LISTEN connection is asked.
    Ask { proxy: usize },
    /// Its answer comes.
    Answer { proxy: usize },
    /// The LISTEN connection is cut.
    Cut { proxy: usize },
    /// A proxy registers again.
    Register { proxy: usize },
    /// It hears its log from here on.
    Listen { proxy: usize },
    /// A heartbeat.
    Beat { proxy: usize },
    /// The coordinator was silent for too long.
    Expire { proxy: usize },
    /// The operator takes back what a tunnel rests on.
    Revoke { src: Peer, dst: Peer },
    /// The database crashes.
    Crash,
    /// Nothing happens for a while.
    Settle,
}
