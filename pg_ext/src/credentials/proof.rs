//! Proofs: a session number counts only with the code that the extension gave with it.
//!
//! A proof is, in base64, the number of a secret, the key and the token with which the peer came, and a code with the secret
//! over these, network, peer and session number. A proxy keeps it as it is.

use std::collections::{BTreeSet, HashMap};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use pgrx::prelude::*;
use tailnet_wire::SessionId;
use uuid::Uuid;

use crate::{
    credentials::mac::{self, Purpose},
    error::Error,
    order::turn::Turn,
    pg::{statement::rows, uuids::from_pg},
};

const SECRETS: &str = "
    SELECT s.number, s.secret FROM unnest($1) q(number) JOIN tailnet_private.secrets s ON s.number = q.number";

/// With what a peer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credential {
    /// Nil: it has an identity.
    pub key: Uuid,
    /// Which token of the key.
    pub token: i32,
}

/// A proof that is not checked yet.
#[derive(Debug, Clone, Copy)]
pub struct Proof {
    secret: i32,
    pub credential: Credential,
    code: [u8; mac::SIZE],
}

/// Sessions of a call, by what their proofs are worth.
#[derive(Debug, Default)]
pub struct Checked {
    pub proved: HashMap<SessionId, Credential>,
    /// The proof is of another session, of another network, malformed, or made with a secret that was forgotten.
    pub unproved: Vec<SessionId>,
    /// There is no such peer. It was deleted since its token was checked.
    pub deleted: Vec<SessionId>,
}

/// Checks the proofs of sessions.
pub fn check(turn: &Turn, sessions: &[SessionId], proofs: &[Option<Proof>]) -> Result<Checked, Error> {
    let numbers: BTreeSet<i32> = proofs.iter().flatten().map(|proof| proof.secret).collect();
    let numbers: Vec<i32> = numbers.into_iter().collect();
    let secrets: HashMap<i32, Vec<u8>> =
        rows(SECRETS, &[numbers.into()], |row| Ok((row.get(1)?, row.get(2)?)))?.into_iter().collect();
    let mut checked = Checked::default();
    for (session, proof) in sessions.iter().zip(proofs) {
        let membership = turn.memberships.get(&session.peer);
        let proved = proof.zip(membership).filter(|(proof, membership)| {
            secrets.get(&proof.secret).is_some_and(|secret| proof.proves(secret, membership.network, *session))
        });
        match proved {
            Some((proof, _)) => {
                checked.proved.insert(*session, proof.credential);
            }
            None if membership.is_some() => checked.unproved.push(*session),
            None => checked.deleted.push(*session),
        }
    }
    Ok(checked)
}

impl Proof {
    /// Reads a proof; None: it is malformed.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        let (secret, rest) = bytes.split_first_chunk()?;
        let (key, rest) = rest.split_first_chunk()?;
        let (token, code) = rest.split_first_chunk()?;
        let credential = Credential { key: Uuid::from_bytes(*key), token: i32::from_be_bytes(*token) };
        Some(Self { secret: i32::from_be_bytes(*secret), credential, code: code.try_into().ok()? })
    }

    fn proves(&self, secret: &[u8], network: Uuid, session: SessionId) -> bool {
        with_message(network, session, self.credential, |parts| {
            mac::verify(secret, Purpose::Session, parts, &self.code)
        })
    }
}

fn with_message<T>(network: Uuid, session: SessionId, credential: Credential, then: impl FnOnce(&[&[u8]]) -> T) -> T {
    let (token, number) = (credential.token.to_be_bytes(), session.number.to_be_bytes());
    then(&[network.as_bytes(), session.peer.as_bytes(), credential.key.as_bytes(), &token, &number])
}

/// `sql/secrets.sql` declares the function.
#[pg_extern(immutable, parallel_safe, sql = false)]
fn prove_session(
    secret: &[u8],
    number: i32,
    network: pgrx::Uuid,
    peer: pgrx::Uuid,
    key: pgrx::Uuid,
    token: i32,
    session: i64,
) -> String {
    let credential = Credential { key: from_pg(key), token };
    let session = SessionId { peer: from_pg(peer), number: session };
    let code = with_message(from_pg(network), session, credential, |parts| mac::code(secret, Purpose::Session, parts));
    let mut proof = number.to_be_bytes().to_vec();
    proof.extend_from_slice(credential.key.as_bytes());
    proof.extend_from_slice(&token.to_be_bytes());
    proof.extend_from_slice(&code);
    BASE64_URL_SAFE_NO_PAD.encode(proof)
}
