//! Proofs: a session number counts only with the MAC that the extension gave with it.
//!
//! A proof is the number of a secret and a MAC with it over network, peer and session number, in base64. A proxy keeps it as
//! it is.

use std::collections::{BTreeSet, HashMap};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use pgrx::prelude::*;
use sha2::Sha256;
use tailnet_wire::SessionId;
use uuid::Uuid;

use crate::{
    error::Error,
    order::turn::Turn,
    pg::{statement::rows, uuids::from_pg},
};

const SECRETS: &str = "
    SELECT s.number, s.secret FROM unnest($1) q(number) JOIN tailnet_private.secrets s ON s.number = q.number";

/// A MAC of 128 bits cannot be guessed, and each guess costs a call.
const MAC_SIZE: usize = 16;

/// Sessions of a call, by what their proofs are worth.
#[derive(Debug, Default)]
pub struct Judged {
    pub proved: Vec<SessionId>,
    /// The proof is of another session, of another network, malformed, or made with a secret that was forgotten.
    pub unproved: Vec<SessionId>,
}

/// Judges the proofs of sessions whose peers exist; sessions of other peers are in neither list.
pub fn judge(turn: &Turn, sessions: &[SessionId], proofs: &[String]) -> Result<Judged, Error> {
    let parsed: Vec<Option<Proof>> = proofs.iter().map(|text| Proof::parse(text)).collect();
    let numbers: BTreeSet<i32> = parsed.iter().flatten().map(|proof| proof.secret).collect();
    let numbers: Vec<i32> = numbers.into_iter().collect();
    let secrets: HashMap<i32, Vec<u8>> =
        rows(SECRETS, &[numbers.into()], |row| Ok((row.get(1)?, row.get(2)?)))?.into_iter().collect();
    let mut judged = Judged::default();
    for (session, proof) in sessions.iter().zip(parsed) {
        let Some(membership) = turn.memberships.get(&session.peer) else { continue };
        let proved = proof.is_some_and(|proof| {
            secrets.get(&proof.secret).is_some_and(|secret| {
                mac(secret, membership.network, *session).verify_truncated_left(&proof.mac).is_ok()
            })
        });
        if proved { &mut judged.proved } else { &mut judged.unproved }.push(*session);
    }
    Ok(judged)
}

#[derive(Debug, Clone, Copy)]
struct Proof {
    secret: i32,
    mac: [u8; MAC_SIZE],
}

impl Proof {
    fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        let (secret, mac) = bytes.split_first_chunk()?;
        Some(Self { secret: i32::from_be_bytes(*secret), mac: mac.try_into().ok()? })
    }
}

fn mac(secret: &[u8], network: Uuid, session: SessionId) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any size");
    mac.update(b"session");
    mac.update(network.as_bytes());
    mac.update(session.peer.as_bytes());
    mac.update(&session.number.to_be_bytes());
    mac
}

/// `sql/secrets.sql` declares the function.
#[pg_extern(immutable, parallel_safe, sql = false)]
fn prove_session(secret: &[u8], number: i32, network: pgrx::Uuid, peer: pgrx::Uuid, session: i64) -> String {
    let mac = mac(secret, from_pg(network), SessionId { peer: from_pg(peer), number: session }).finalize().into_bytes();
    let mut proof = number.to_be_bytes().to_vec();
    proof.extend_from_slice(&mac[..MAC_SIZE]);
    BASE64_URL_SAFE_NO_PAD.encode(proof)
}
