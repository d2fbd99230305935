//! Resume tokens: with one, the next connection of a shared key is the same peer as before.
//!
//! A resume token is a prefix and, in base64, the number of a secret, the time when it expires, the peer, and a code with the
//! secret over these, network and key. It is good together with a token of the same key only.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use pgrx::prelude::*;
use tailnet_wire::limits::RESUME_LIFE;
use uuid::Uuid;

use crate::{
    credentials::mac::{self, Purpose},
    pg::uuids::{from_pg, to_pg},
};

/// So that people and scanners of secrets know it.
const PREFIX: &str = "tnr_";

struct ResumeToken {
    secret: i32,
    /// In seconds since 1970.
    expires: i64,
    peer: Uuid,
    code: [u8; mac::SIZE],
}

impl ResumeToken {
    fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
        let (secret, rest) = bytes.split_first_chunk()?;
        let (expires, rest) = rest.split_first_chunk()?;
        let (peer, code) = rest.split_first_chunk()?;
        Some(Self {
            secret: i32::from_be_bytes(*secret),
            expires: i64::from_be_bytes(*expires),
            peer: Uuid::from_bytes(*peer),
            code: code.try_into().ok()?,
        })
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// `sql/authenticate.sql` declares these functions.
#[pg_extern(stable, parallel_safe, sql = false)]
fn resume_secret(resume: Option<&str>) -> Option<i32> {
    ResumeToken::parse(resume?).filter(|token| token.expires > now()).map(|token| token.secret)
}

#[pg_extern(immutable, parallel_safe, sql = false)]
fn resumed_peer(secret: &[u8], resume: &str, network: pgrx::Uuid, key: pgrx::Uuid) -> Option<pgrx::Uuid> {
    let token = ResumeToken::parse(resume)?;
    let (network, key, expires) = (from_pg(network), from_pg(key), token.expires.to_be_bytes());
    let parts: [&[u8]; 4] = [network.as_bytes(), key.as_bytes(), &expires, token.peer.as_bytes()];
    mac::verify(secret, Purpose::Resume, &parts, &token.code).then(|| to_pg(token.peer))
}

#[pg_extern(volatile, parallel_safe, sql = false)]
fn resume_token(secret: &[u8], number: i32, network: pgrx::Uuid, key: pgrx::Uuid, peer: pgrx::Uuid) -> String {
    let expires = (now() + i64::try_from(RESUME_LIFE.as_secs()).expect("a month fits")).to_be_bytes();
    let (network, key, peer) = (from_pg(network), from_pg(key), from_pg(peer));
    let code = mac::code(secret, Purpose::Resume, &[network.as_bytes(), key.as_bytes(), &expires, peer.as_bytes()]);
    let mut token = number.to_be_bytes().to_vec();
    token.extend_from_slice(&expires);
    token.extend_from_slice(peer.as_bytes());
    token.extend_from_slice(&code);
    format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(token))
}
