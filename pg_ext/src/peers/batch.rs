//! Batches of calls: sessions, and requests of sessions about tunnels. How they are read from arguments, and how they are
//! passed to statements.

use pgrx::datum::DatumWithOid;
use tailnet_wire::SessionId;
use uuid::Uuid;

use crate::{
    credentials::proof::Proof,
    error::Error,
    order::turn::Turn,
    pg::{
        arguments::{self, Array},
        uuids::{to_pg, uuid_array},
    },
};

/// What a session asks about a tunnel to another peer.
#[derive(Debug, Clone, Copy)]
pub struct TunnelRequest {
    pub src: SessionId,
    pub dst: Uuid,
}

/// Reads sessions from arguments.
pub fn sessions(peers: Array<pgrx::Uuid>, sessions: Array<i64>) -> Result<Vec<SessionId>, Error> {
    let peers = arguments::ids("peers", peers)?;
    let numbers = arguments::values("sessions", sessions)?;
    arguments::same_length("peers", &peers, "sessions", &numbers)?;
    Ok(peers.into_iter().zip(numbers).map(|(peer, number)| SessionId { peer, number }).collect())
}

/// Reads sessions and their proofs from arguments.
pub fn proved_sessions(
    peers: Array<pgrx::Uuid>,
    sessions: Array<i64>,
    proofs: Array<String>,
) -> Result<(Vec<SessionId>, Vec<Option<Proof>>), Error> {
    let batch = self::sessions(peers, sessions)?;
    let proofs = arguments::values("proofs", proofs)?;
    arguments::same_length("peers", &batch, "proofs", &proofs)?;
    Ok((batch, proofs.iter().map(|text| Proof::parse(text)).collect()))
}

/// Waits for the turn of these sessions, whether or not their peers are in the table of peers.
pub fn take_proved(
    registration: Option<pgrx::Uuid>,
    batch: &[SessionId],
    proofs: &[Option<Proof>],
) -> Result<Turn, Error> {
    let keys = proofs.iter().map(|proof| proof.map(|proof| proof.credential.key).filter(|key| !key.is_nil()));
    Turn::take_of_all(registration, batch, keys)
}

/// Reads requests from arguments.
pub fn tunnel_requests(
    srcs: Array<pgrx::Uuid>,
    sessions: Array<i64>,
    dsts: Array<pgrx::Uuid>,
) -> Result<Vec<TunnelRequest>, Error> {
    let srcs = arguments::ids("srcs", srcs)?;
    let numbers = arguments::values("sessions", sessions)?;
    let dsts = arguments::ids("dsts", dsts)?;
    arguments::same_length("srcs", &srcs, "sessions", &numbers)?;
    arguments::same_length("srcs", &srcs, "dsts", &dsts)?;
    let srcs = srcs.into_iter().zip(numbers).map(|(peer, number)| SessionId { peer, number });
    Ok(srcs.zip(dsts).map(|(src, dst)| TunnelRequest { src, dst }).collect())
}

/// The parameters of a statement about sessions: coordinator, peers and numbers.
pub fn session_parameters<'a>(turn: &Turn, batch: &[SessionId]) -> [DatumWithOid<'a>; 3] {
    let numbers: Vec<i64> = batch.iter().map(|session| session.number).collect();
    [to_pg(turn.coordinator).into(), uuid_array(batch.iter().map(|session| session.peer)).into(), numbers.into()]
}

/// The parameters of a statement about requests: coordinator, sources, session numbers and destinations.
pub fn tunnel_parameters<'a>(turn: &Turn, batch: &[TunnelRequest]) -> [DatumWithOid<'a>; 4] {
    let numbers: Vec<i64> = batch.iter().map(|request| request.src.number).collect();
    [
        to_pg(turn.coordinator).into(),
        uuid_array(batch.iter().map(|request| request.src.peer)).into(),
        numbers.into(),
        uuid_array(batch.iter().map(|request| request.dst)).into(),
    ]
}
