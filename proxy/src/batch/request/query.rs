//! Requests of the querier: it checks tokens and dials, enrols machines, and asks for DERP maps and pages of views.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use tailnet_wire::{Role, SessionId};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::batch::{batcher::Request, request::proof::Proof};

/// The SHA-256 of a token. The token itself never leaves the edge.
pub type TokenHash = [u8; 32];

/// A peer whose token is good, and the session that it may open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// The session.
    pub id: SessionId,
    /// Proves its number.
    pub proof: Proof,
    /// The role of the peer.
    pub role: Role,
    /// Its network.
    pub network: Uuid,
    /// The only peer that it may have a tunnel to: the path of its connection names it. None: policy alone decides.
    pub only: Option<Uuid>,
    /// With this the next connection is the same peer; None: its token alone makes it the same.
    pub resume: Option<String>,
}

/// What the extension says of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authentication {
    /// It is good.
    Admitted(Admitted),
    /// It is known, and opens no session.
    Denied(Denial),
    /// It is not known, or its peer has a role that this proxy does not know.
    Unknown,
}

/// The peer that a machine enrolled as.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Enrolled {
    /// The peer.
    pub peer_id: Uuid,
    /// Its role.
    pub role: String,
    /// Its token. Nobody has seen it before.
    pub token: String,
}

impl fmt::Debug for Enrolled {
    /// Without the token: it must not be in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enrolled").field("peer_id", &self.peer_id).field("role", &self.role).finish_non_exhaustive()
    }
}

/// What the extension says to a machine that enrols.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Enrolment {
    /// It has a peer now.
    Enrolled(Enrolled),
    /// Its token is known, and makes no peer.
    Denied(EnrolmentDenial),
    /// Its token is not known.
    Unknown,
}

/// Why a known token makes no peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnrolmentDenial {
    /// The key was revoked.
    Revoked,
    /// The key or the token has expired.
    Expired,
    /// The key is for other uses.
    Kind,
    /// The key was used as often as it may be.
    Used,
    /// For a reason of a newer extension.
    Other,
}

impl From<&str> for EnrolmentDenial {
    fn from(word: &str) -> Self {
        match word {
            "revoked" => Self::Revoked,
            "expired" => Self::Expired,
            "kind" => Self::Kind,
            "used" => Self::Used,
            _ => Self::Other,
        }
    }
}

/// What an agent is told of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentInfo {
    /// Its name.
    pub name: String,
    /// The name of its owner.
    pub owner: String,
    /// The name of its workspace.
    pub workspace: String,
    /// The id of its workspace.
    pub workspace_id: Uuid,
    /// Where it starts; empty: its own choice.
    pub directory: String,
    /// Variables of its environment.
    pub environment: BTreeMap<String, String>,
}

/// Why a known token opens no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// The peer or its key was revoked.
    Revoked,
    /// The peer, its key or the token has expired.
    Expired,
    /// The resume token that came with it is forged, expired, or of another key or network.
    Resume,
    /// The key has as many peers as it may.
    Full,
    /// It is the token of an enrolment key.
    Enrolment,
    /// For a reason of a newer extension.
    Other,
}

impl From<&str> for Denial {
    fn from(word: &str) -> Self {
        match word {
            "revoked" => Self::Revoked,
            "expired" => Self::Expired,
            "resume" => Self::Resume,
            "full" => Self::Full,
            "enrolment" => Self::Enrolment,
            _ => Self::Other,
        }
    }
}

/// The key of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Question {
    /// About a token, by a number of its own: two upgrades with one token are two sessions.
    Token(u64),
    /// About the view of a session.
    Page(SessionId),
    /// About a dial, by a number of its own.
    Dial(u64),
    /// About the DERP map of a network.
    DerpMap(Uuid),
    /// About what an agent is told of itself, by a number of its own.
    AgentInfo(u64),
    /// About a peer for a machine, by a number of its own.
    Enrolment(u64),
}

/// What is asked.
#[derive(Debug)]
pub enum QuerierRequest {
    /// Whose token is it?
    Token {
        /// What the extension knows of the token.
        hash: TokenHash,
        /// The resume token that came with it; empty: none.
        resume: String,
        /// It is dropped when Postgres does not answer.
        reply: oneshot::Sender<Authentication>,
    },
    /// May the peer of this token open a tunnel to this agent?
    Dial {
        /// What the extension knows of the token.
        hash: TokenHash,
        /// The agent.
        agent: Uuid,
        /// It is dropped when Postgres does not answer.
        reply: oneshot::Sender<bool>,
    },
    /// What is the DERP map of this network?
    DerpMap,
    /// What is this agent told of itself?
    AgentInfo {
        /// The agent.
        agent: Uuid,
        /// It is dropped when Postgres does not answer.
        reply: oneshot::Sender<AgentInfo>,
    },
    /// Which peer does a machine get for this token?
    Enrolment {
        /// What the extension knows of the token.
        hash: TokenHash,
        /// The machine.
        machine: Uuid,
        /// It is dropped when Postgres does not answer.
        reply: oneshot::Sender<Enrolment>,
    },
    /// The next page of a view.
    Page {
        /// The page begins after this key.
        after: Uuid,
    },
}

impl Request for QuerierRequest {
    const WORKER: &'static str = "querier";

    fn merge(self, newer: Self) -> Self {
        newer
    }
}
