//! Message authentication codes with the secrets of the database.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// 128 bits cannot be guessed, and each guess costs a call.
pub const SIZE: usize = 16;

/// What a code is for. A code for one purpose is worth nothing for the other.
#[derive(Debug, Clone, Copy)]
pub enum Purpose {
    Session,
    Resume,
}

/// The code of a message whose parts have fixed sizes.
pub fn code(secret: &[u8], purpose: Purpose, parts: &[&[u8]]) -> [u8; SIZE] {
    let code = hmac(secret, purpose, parts).finalize().into_bytes();
    *code.first_chunk().expect("a code of SHA-256 has 32 bytes")
}

/// Whether the code is that of the message. Takes the same time whichever byte differs.
pub fn verify(secret: &[u8], purpose: Purpose, parts: &[&[u8]], code: &[u8; SIZE]) -> bool {
    hmac(secret, purpose, parts).verify_truncated_left(code).is_ok()
}

fn hmac(secret: &[u8], purpose: Purpose, parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut hmac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any size");
    hmac.update(match purpose {
        Purpose::Session => b"session",
        Purpose::Resume => b"resumed",
    });
    parts.iter().for_each(|part| hmac.update(part));
    hmac
}
