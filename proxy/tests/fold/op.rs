//! What can happen, in any order.

/// What happens next. Numbers choose among what is there.
#[derive(Debug, Clone)]
pub enum Op {
    /// A token is checked; its websocket opens with the next `Join`.
    Connect {
        peer: u128,
        proxy: usize,
    },
    Join {
        which: usize,
    },
    Announce {
        socket: usize,
        node: i64,
    },
    Tunnel {
        socket: usize,
        dst: u128,
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
        role: usize,
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
        src: u128,
        dst: u128,
    },
    Crash,
    /// Nothing happens for a while.
    Settle,
}
