//! What the protocol does against each fault, so that a test can leave it out.

/// True is how it is built.
#[derive(Debug, Clone, Copy)]
pub struct Guards {
    /// A change looks up who must hear of it under the network's lock, not in a snapshot from before it.
    pub lock: bool,
    /// Views travel in the log, not as results of a query.
    pub views_in_log: bool,
    /// Events about partners that no page has reached yet do not count: they may rest on a tunnel that ended unheard.
    pub coverage: bool,
    /// Only the current session of a peer writes.
    pub fencing: bool,
    /// A coordinator that was silent itself expires nobody.
    pub silent_do_not_expire: bool,
    /// Nor does it end the restoration after a crash: it cannot know who else is silent, or not there yet.
    pub silent_do_not_settle: bool,
    /// After a crash, absence is told when everybody had the time to come back and to restore.
    pub grace: bool,
    /// A call of a registration that has ended is refused, however late it comes.
    pub admission: bool,
    /// The newest session number of a peer survives a crash.
    pub durable_number: bool,
    /// A goodbye ends earlier sessions too, wherever they are, and none is restored after it.
    pub final_goodbye: bool,
}

impl Guards {
    /// All of them.
    pub const BUILT: Self = Self {
        lock: true,
        views_in_log: true,
        coverage: true,
        fencing: true,
        silent_do_not_expire: true,
        silent_do_not_settle: true,
        grace: true,
        admission: true,
        durable_number: true,
        final_goodbye: true,
    };
}
