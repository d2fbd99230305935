//! What can happen, in any order.

use tailnet_model::peers::Peer;

/// What happens next. Numbers choose among what is there.
#[derive(Debug, Clone)]
pub enum Op {
    /// A token is checked; its websocket opens with the next `Join`.
    Connect {
        peer: Peer,
        proxy: usize,
    },
    Join {
        which: usize,
    },
    Announce {
        socket: usize,
        node: u8,
    },
    Tunnel {
        socket: usize,
        dst: Peer,
        open: bool,
    },
    Disconnect {
        socket: usize,
    },
    Break {
        socket: usize,
    },
    /// A socket writes what it has.
    Write {
        socket: usize,
    },
    /// A worker takes a batch.
    Take {
        proxy: usize,
        worker: usize,
        limit: usize,
    },
    /// What a worker has taken is committed.
    Commit {
        which: usize,
    },
    /// It fails, and can be tried again.
    Fail {
        which: usize,
    },
    /// It is committed, but nobody learns so.
    CommitAndCut {
        which: usize,
    },
    Deliver {
        proxy: usize,
        messages: usize,
    },
    /// The LISTEN connection is asked, and answers.
    Ask {
        proxy: usize,
    },
    Answer {
        proxy: usize,
    },
    /// The LISTEN connection is cut.
    Cut {
        proxy: usize,
    },
    Register {
        proxy: usize,
    },
    Listen {
        proxy: usize,
    },
    Beat {
        proxy: usize,
    },
    Expire {
        proxy: usize,
    },
    Revoke {
        src: Peer,
        dst: Peer,
    },
    Crash,
    /// Nothing happens for a while.
    Settle,
}
