//! What the protocol does against each fault, so that a test can leave it out.

/// True is how it is built.
#[derive(Debug, Clone, Copy)]
pub struct Guards {
    /// A change looks up who must hear of it under the network's lock, not in a snapshot from before it.
    pub lock: bool,
    /// Views travel in the log, not as results of a query.
    pub views_in_log: bool,
    /// Events about partners that no page has reached yet do not count.
    pub coverage: bool,
    /// Only the current session of a peer writes.
    pub fencing: bool,
    /// Who was silent himself expires nobody.
    pub deaf_do_not_reap: bool,
    /// After a crash, absence is told when everybody had the time to come back and to restore.
    pub grace: bool,
    /// The newest session number of a peer survives a crash.
    pub durable_number: bool,
}

impl Guards {
    /// All of them.
    pub const BUILT: Self = {
        Self {
            lock: true,
            views_in_log: true,
            coverage: true,
            fencing: true,
            deaf_do_not_reap: true,
            grace: true,
            durable_number: true,
        }
    };
}
