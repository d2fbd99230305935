//! WireGuard keys.

use anyhow::{Context, Result};
use boringtun::x25519::{PublicKey, StaticSecret};

const PREFIX: &str = "nodekey:";

/// The keys of one peer. Made anew at each start: nobody needs to know a peer's key but the coordinator.
pub struct KeyPair {
    /// Stays here.
    pub secret: StaticSecret,
    /// Is announced.
    pub public: PublicKey,
}

impl KeyPair {
    /// Fresh random keys.
    pub fn generate() -> Self {
        let secret = StaticSecret::from(rand::random::<[u8; 32]>());
        Self { public: PublicKey::from(&secret), secret }
    }
}

/// The key as a node carries it.
pub fn to_text(key: &PublicKey) -> String {
    format!("{PREFIX}{}", hex::encode(key.as_bytes()))
}

/// Reads what [`to_text`] wrote.
///
/// # Errors
/// When the text is not `nodekey:` and 64 hex digits.
pub fn from_text(text: &str) -> Result<PublicKey> {
    let digits = text.strip_prefix(PREFIX).with_context(|| format!("key {text:?} does not start with {PREFIX:?}"))?;
    let mut bytes = [0; 32];
    hex::decode_to_slice(digits, &mut bytes).with_context(|| format!("key {text:?} does not have 64 hex digits"))?;
    Ok(PublicKey::from(bytes))
}
