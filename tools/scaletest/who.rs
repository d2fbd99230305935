//! Whom log lines and failures are about.

use std::fmt;

use serde::Serialize;
use tailnet_tools::identity::TestIdentity;
use uuid::Uuid;

/// One peer of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Who {
    pub peer: Uuid,
    pub name: String,
    pub role: &'static str,
    /// None: the hub.
    pub pair: Option<usize>,
}

impl Who {
    /// The peer with this identity.
    pub fn new(identity: &TestIdentity, pair: Option<usize>) -> Self {
        Self { peer: identity.id, name: identity.name.clone(), role: identity.role.as_str(), pair }
    }

    /// What each of its log lines begins with.
    pub fn span(&self) -> tracing::Span {
        let Self { peer, name, role, pair } = self;
        // Of the highest level, so that it is there whatever is logged.
        tracing::error_span!("runner", %peer, name, role, pair)
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { peer, name, role, pair } = self;
        let pair = pair.map(|pair| format!(" of pair {pair}")).unwrap_or_default();
        write!(f, "{role} {name} ({peer}){pair}")
    }
}
